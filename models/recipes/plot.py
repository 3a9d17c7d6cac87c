"""The loss over α as an SVG, from the figures that train_trio.py writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 16, 44
LEVELS = {"base": "#8a8a8a", "expert": "#b3541e", "tuned": "#2e7d32"}
LABELS = {"base": "base", "expert": "expert alone", "tuned": "base tuned directly"}
STEERED = "#1f4e9c"
FONT = 'font-family="sans-serif" font-size="13"'


def plot(figures: dict) -> str:
    """Steered on held-out stories, with the standard error as a band, and what it is compared with as lines."""
    losses = figures["heldout-stories"]["loss"]
    curve = [(0.0, losses["base"])]
    curve += [(float(name.split()[1]), loss) for name, loss in losses.items() if name.startswith("steered")]
    levels = {role: losses[role]["nats"] for role in LEVELS if role in losses}
    values = [loss["nats"] for _, loss in curve] + list(levels.values())
    low, high, last = min(values) - 0.1, max(values) + 0.1, curve[-1][0]

    def x(alpha: float) -> float:
        return round(LEFT + alpha / last * (WIDTH - LEFT - RIGHT), 1)

    def y(nats: float) -> float:
        return round(TOP + (high - nats) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def text(at_x: float, at_y: float, content: str, anchor: str = "start", colour: str = "#444") -> str:
        return f'<text x="{at_x}" y="{at_y}" text-anchor="{anchor}" fill="{colour}">{content}</text>'

    def line(points: list[tuple[float, float]], style: str) -> str:
        return f'<polyline points="{" ".join(f"{px},{py}" for px, py in points)}" fill="none" {style}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(-int(-low * 10 // 1), int(high * 10) + 1):
        if tenth % 2 == 0:
            parts.append(line([(LEFT, y(tenth / 10)), (x(last), y(tenth / 10))], 'stroke="#e4e4e4"'))
            parts.append(text(LEFT - 8, y(tenth / 10) + 4, f"{tenth / 10:.1f}", "end"))
    for alpha, _ in curve:
        parts.append(text(x(alpha), HEIGHT - BOTTOM + 18, f"{alpha:g}", "middle"))
    for role, nats in levels.items():
        style = f'stroke="{LEVELS[role]}" stroke-width="1.5" stroke-dasharray="5 4"'
        parts.append(line([(LEFT, y(nats)), (x(last), y(nats))], style))
        parts.append(text(x(last) + 8, y(nats) + 4, LABELS[role], colour=LEVELS[role]))
    upper = [(x(alpha), y(loss["nats"] + loss["error"])) for alpha, loss in curve]
    lower = [(x(alpha), y(loss["nats"] - loss["error"])) for alpha, loss in curve]
    band = " ".join(f"{px},{py}" for px, py in upper + lower[::-1])
    points = [(x(alpha), y(loss["nats"])) for alpha, loss in curve]
    parts += [
        f'<polygon points="{band}" fill="{STEERED}" fill-opacity="0.18"/>',
        line(points, f'stroke="{STEERED}" stroke-width="2"'),
        *(f'<circle cx="{px}" cy="{py}" r="3" fill="{STEERED}"/>' for px, py in points),
        text(points[-1][0] + 8, points[-1][1] + 4, "steered", colour=STEERED),
        text(x(last / 2), HEIGHT - 8, "α", "middle"),
        f'<g transform="translate(14 {HEIGHT / 2}) rotate(-90)">{text(0, 0, "nats per token", "middle")}</g>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="figures.json")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    arguments.out.write_text(plot(figures["Q8_0"]["expert"]), encoding="utf-8")


if __name__ == "__main__":
    main()
