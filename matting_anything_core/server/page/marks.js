// What a user has marked of one object, in order, and the prompt that says it. Marks are values: they are not changed.
//
// A mark is {box: [x0, y0, x1, y1]}, {words}, {point: [x, y], label} or {stroke: [[x, y], …], width, label}; label 1:
// belongs to the object, 0: does not. Coordinates are pixels of the picture.

/** The marks once another one is made. A new box or new words replace what belonged to the old ones. */
export function added(marks, mark) {
  if (mark.words) return [...marks.filter((one) => one.box), mark];
  if (mark.box && marks.some((one) => one.box || one.words)) return [mark];
  return [...marks, mark];
}

/** Whether a mark corrects the matte that is there, rather than asks for another one. */
export function corrects(mark) {
  return Boolean(mark.point || mark.stroke);
}

/** Whether marks say what the object is, or at least something that belongs to it. */
export function sayWhat(marks) {
  return marks.some((mark) => mark.box || mark.words || mark.label === 1);
}

/**
 * The prompt of marks; null when nothing of them says what the object is.
 * previous: what the service is to go on from, or nothing. box: the one that was found for it.
 * reach: radius of the disc in which a point holds, pixels of the picture.
 */
export function promptOf(marks, { previous = null, box = null, reach = 2 } = {}) {
  if (!previous && !sayWhat(marks)) return null;
  const settled = withoutContradictions(marks, reach);
  const points = settled.filter((mark) => mark.point);
  const strokes = (label) => settled.filter((mark) => mark.stroke && mark.label === label)
    .map(({ stroke, width }) => ({ points: stroke, width }));
  const around = marks.findLast((mark) => mark.box)?.box ?? (previous && box);
  const words = previous ? null : marks.findLast((mark) => mark.words)?.words;
  const keep = strokes(1), drop = strokes(0);
  return {
    ...(around && { box: around }),
    ...(words && { text: words }),
    ...(points.length && { points: points.map((mark) => mark.point), labels: points.map((mark) => mark.label) }),
    ...(keep.length && { keep }),
    ...(drop.length && { drop }),
    ...(previous && { previous }),
  };
}

/** Marks in which the later ones have overruled the earlier ones that say the opposite in their place. */
export function withoutContradictions(marks, reach = 2) {
  let settled = [];
  for (const mark of marks) {
    if (corrects(mark)) settled = settled.flatMap((one) => (one.label === 1 - mark.label ? rest(one, mark, reach) : [one]));
    settled.push(mark);
  }
  return settled;
}

/** What is left of a point or stroke beside a later one of the opposite. */
function rest(earlier, later, reach) {
  const radius = (mark) => (mark.point ? reach : mark.width / 2);
  const least = radius(earlier) + radius(later) + 1;
  const line = later.point ? [later.point] : later.stroke;
  if (earlier.point) return distance(earlier.point, line) < radius(later) + 1 ? [] : [earlier];
  const runs = [[]];
  for (const point of dense(earlier.stroke, Math.max(earlier.width / 4, 1))) {
    if (distance(point, line) >= least) runs.at(-1).push(point);
    else if (runs.at(-1).length) runs.push([]);
  }
  const left = runs.filter((run) => run.length);
  return left.length === 1 && left[0].length === dense(earlier.stroke, Math.max(earlier.width / 4, 1)).length
    ? [earlier] : left.map((run) => ({ ...earlier, stroke: run }));
}

/** A line with points at most `step` apart. */
function dense(line, step) {
  const points = [line[0]];
  for (let i = 1; i < line.length; i++) {
    const [x0, y0] = line[i - 1], [x1, y1] = line[i];
    const parts = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / step));
    for (let k = 1; k <= parts; k++) points.push([x0 + (x1 - x0) * k / parts, y0 + (y1 - y0) * k / parts]);
  }
  return points;
}

/** From a point to the nearest of a line's. */
function distance([x, y], line) {
  let nearest = Infinity;
  for (let i = 0; i < line.length; i++) {
    const [x0, y0] = line[Math.max(i - 1, 0)], [x1, y1] = line[i];
    const dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
    const t = square ? Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / square, 0), 1) : 0;
    nearest = Math.min(nearest, Math.hypot(x - x0 - t * dx, y - y0 - t * dy));
  }
  return nearest;
}

/** A line with what adds nothing left out: points nearer than `least` to the one before, but for the last. */
export function thinned(line, least) {
  const kept = [line[0]];
  for (const point of line.slice(1, -1)) {
    const [x, y] = kept.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) >= least) kept.push(point);
  }
  if (line.length > 1) kept.push(line.at(-1));
  return kept;
}

/** Marks of a picture of one size for one of another size, in the same place. */
export function moved(marks, from, to) {
  const across = to.width / from.width, down = to.height / from.height, both = Math.sqrt(across * down);
  const place = ([x, y]) => [x * across, y * down];
  return marks.map((mark) => ({
    ...mark,
    ...(mark.box && { box: [...place(mark.box.slice(0, 2)), ...place(mark.box.slice(2))] }),
    ...(mark.point && { point: place(mark.point) }),
    ...(mark.stroke && { stroke: mark.stroke.map(place), width: Math.max(mark.width * both, 1) }),
  }));
}
