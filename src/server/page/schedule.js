// α along an answer, as the server writes it: `0.75`, `1@0,0.5@64` (a value from a position on), `1@0..0.5@64` (a straight
// line from one to the other), or any sequence of these. Positions count the answer's tokens from 0.

/** Beyond this the server refuses α. */
export const MAX_ALPHA = 10;

/** Knots `{alpha, position, isRamp}` of a text; throws what is wrong with it. */
export function parse(text) {
  const alphaOf = (part) => {
    const alpha = Number(part);
    if (part.trim() === "" || !Number.isFinite(alpha)) throw new Error(`“${part}” is no number`);
    if (Math.abs(alpha) > MAX_ALPHA)
      throw new Error(`α is ${alpha}, expected a number from -${MAX_ALPHA} to ${MAX_ALPHA}`);
    return alpha;
  };
  const written = String(text).trim();
  if (!written.includes("@")) return [{ alpha: alphaOf(written), position: 0, isRamp: false }];
  const knots = [];
  for (const line of written.split(",")) {
    const stops = line.split("..");
    for (const [i, stop] of stops.entries()) {
      const [alpha, position, ...rest] = stop.split("@");
      if (position === undefined || rest.length || !/^\s*\d+\s*$/.test(position)) {
        throw new Error(`“${stop}”: expected a value with its position, as in 0.5@64`);
      }
      knots.push({ alpha: alphaOf(alpha), position: Number(position), isRamp: i + 1 < stops.length });
    }
  }
  if (knots[0].position !== 0) throw new Error("the first position is 0");
  if (knots.some((knot, i) => i > 0 && knot.position <= knots[i - 1].position))
    throw new Error("positions have to grow");
  return knots;
}

const short = (alpha) => String(Math.round(alpha * 1000) / 1000);

/** The text of knots. */
export function format(knots) {
  if (knots.length === 1) return short(knots[0].alpha);
  return knots
    .map(
      ({ alpha, position, isRamp }, i) =>
        `${short(alpha)}@${position}${i + 1 < knots.length ? (isRamp ? ".." : ",") : ""}`,
    )
    .join("");
}

/** What a request sends: a number where α never changes. */
export const sent = (text) => (String(text).includes("@") ? String(text) : Number(text));

/** α at a position. */
export function at(knots, position) {
  const next = knots.findIndex((knot) => knot.position > position);
  const i = next < 0 ? knots.length - 1 : Math.max(0, next - 1);
  const [knot, end] = [knots[i], knots[i + 1]];
  if (!end || !knot.isRamp) return knot.alpha;
  return knot.alpha + ((position - knot.position) / (end.position - knot.position)) * (end.alpha - knot.alpha);
}

/** The schedule that held along an answer whose α was moved while it was written: `changes` are `{position, alpha}`, the first
 * from position 0, each a schedule for the whole answer that holds from its position on. */
export function along(changes) {
  const knots = [];
  for (const [i, { position, alpha }] of changes.entries()) {
    const own = parse(alpha);
    const end = changes[i + 1]?.position ?? Number.POSITIVE_INFINITY;
    if (end <= position) continue;
    const inside = own.filter((knot) => knot.position > position && knot.position < end);
    const first = own.findLast((knot) => knot.position <= position);
    const piece = [{ alpha: at(own, position), position, isRamp: first.isRamp && own.at(-1) !== first }, ...inside];
    // A line that is cut short ends at its last position; what follows begins anew there.
    const last = piece.at(-1);
    if (last.isRamp && end !== Number.POSITIVE_INFINITY && own.some((knot) => knot.position >= end)) {
      if (end - 1 > last.position) piece.push({ alpha: at(own, end - 1), position: end - 1, isRamp: false });
      else last.isRamp = false;
    }
    knots.push(...piece);
  }
  // A knot in the middle of a constant says nothing.
  const says = (knot, i) => i === 0 || knot.isRamp || knots[i - 1].isRamp || knot.alpha !== knots[i - 1].alpha;
  return format(knots.filter(says));
}

/** Knots with a line drawn by hand over them: `points` are `{position, alpha}` in the order of their positions. */
export function drawn(knots, points) {
  const [from, to] = [points[0].position, points.at(-1).position];
  const before = knots.filter((knot) => knot.position < from);
  const rest = knots.filter((knot) => knot.position > to);
  const line = simplified(points, 0.1).map(({ position, alpha }) => ({ alpha, position, isRamp: true }));
  if (before.length === 0 && from > 0) before.push({ alpha: at(knots, 0), position: 0, isRamp: false });
  // What stood behind the line stays as it was.
  if (rest.length === 0 || rest[0].position > to + 1) {
    const covering = knots.findLast((knot) => knot.position <= to);
    const isRamp = Boolean(covering?.isRamp && rest.length);
    line.at(-1).isRamp = isRamp;
  }
  return [...before, ...line, ...rest];
}

/** Fewer points of a line, none of which is further than `most` from where it was (Ramer, Douglas and Peucker). */
function simplified(points, most) {
  if (points.length < 3) return points;
  const [first, last] = [points[0], points.at(-1)];
  const straight = ({ position }) =>
    first.alpha + ((position - first.position) / (last.position - first.position)) * (last.alpha - first.alpha);
  let [worst, at_] = [0, 0];
  for (const [i, point] of points.entries()) {
    const off = Math.abs(point.alpha - straight(point));
    if (off > worst) [worst, at_] = [off, i];
  }
  if (worst <= most) return [first, last];
  return [...simplified(points.slice(0, at_ + 1), most).slice(0, -1), ...simplified(points.slice(at_), most)];
}
