"""The loss over α as an SVG, from the output of `proxytune perplexity --json` for any trio.

proxytune perplexity -f text.txt --alpha 0.5,0.75,1,1.5 --json | venv/bin/python plot.py > alpha.svg
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 16, 44
LEVELS = {"base": "#8a8a8a", "expert": "#b3541e", "tuned": "#2e7d32"}
LABELS = {"base": "base", "expert": "expert alone", "tuned": "base tuned directly"}
STEERED = "#1f4e9c"
FONT = 'font-family="sans-serif" font-size="13"'


@dataclass(frozen=True)
class Loss:
    """Nats per token and its standard error."""

    nats: float
    error: float = 0.0


def plot(steered: dict[float, Loss], levels: dict[str, Loss]) -> str:
    """Steered over α, with the standard error as a band, and what it is compared with as lines."""
    curve = sorted(({0.0: levels["base"]} | steered).items())
    levels = {role: loss for role, loss in levels.items() if role in LEVELS}
    values = [loss.nats for _, loss in curve] + [loss.nats for loss in levels.values()]
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
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, math.inf) if (high - low) / step <= 8)
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        parts.append(line([(LEFT, y(i * step)), (x(last), y(i * step))], 'stroke="#e4e4e4"'))
        parts.append(text(LEFT - 8, y(i * step) + 4, f"{i * step:.1f}", "end"))
    for alpha, _ in curve:
        parts.append(text(x(alpha), HEIGHT - BOTTOM + 18, f"{alpha:g}", "middle"))
    for role, loss in levels.items():
        style = f'stroke="{LEVELS[role]}" stroke-width="1.5" stroke-dasharray="5 4"'
        parts.append(line([(LEFT, y(loss.nats)), (x(last), y(loss.nats))], style))
        parts.append(text(x(last) + 8, y(loss.nats) + 4, LABELS[role], colour=LEVELS[role]))
    upper = [(x(alpha), y(loss.nats + loss.error)) for alpha, loss in curve]
    lower = [(x(alpha), y(loss.nats - loss.error)) for alpha, loss in curve]
    band = " ".join(f"{px},{py}" for px, py in upper + lower[::-1])
    points = [(x(alpha), y(loss.nats)) for alpha, loss in curve]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", type=float, metavar="NATS", help="loss of the base tuned directly, if known")
    arguments = parser.parse_args()
    try:
        rows = [
            (row["role"], row["alpha"], Loss(row["nats_per_token"], row["standard_error"] or 0.0))
            for row in json.load(sys.stdin)["results"]
        ]
    except (ValueError, KeyError, TypeError):
        raise SystemExit("standard input is not the output of `proxytune perplexity --json`") from None
    steered = {alpha: loss for _, alpha, loss in rows if alpha is not None}
    levels = {role: loss for role, _, loss in rows if role != "steered"}
    if not steered or min(steered) < 0 or max(steered) == 0:
        raise SystemExit("expected losses for values of α from 0 on, with one above it: --alpha 0.5,1")
    if arguments.tuned is not None:
        levels["tuned"] = Loss(arguments.tuned)
    print(plot(steered, levels), end="")


if __name__ == "__main__":
    main()
