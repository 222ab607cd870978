// Marks over the points of the map: rings around items, and diamonds for users.

/** state: {points, users, hovered, chosen}; drawn on a canvas of its own over the points. */
export function drawMarks(overlay, { points, users, hovered, chosen }) {
  const context = overlay.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.clearRect(0, 0, overlay.width, overlay.height);
  context.strokeStyle = style.getPropertyValue("--ink");
  context.lineWidth = 2 * devicePixelRatio;
  for (const point of new Set([hovered, chosen])) {
    if (point < 0) continue;
    context.beginPath();
    context.arc(...points.toPixel(points.places[2 * point], points.places[2 * point + 1]), points.size / 2 + 4, 0, 7);
    context.stroke();
  }
  context.fillStyle = style.getPropertyValue("--ink");
  context.strokeStyle = style.getPropertyValue("--card");
  context.lineWidth = devicePixelRatio;
  const reach = 4 * devicePixelRatio;
  context.globalAlpha = 0.75;
  for (const user of users) {
    const [x, y] = points.toPixel(user.x, user.y);
    context.beginPath();
    context.moveTo(x, y - reach);
    for (const [dx, dy] of [
      [reach, 0],
      [0, reach],
      [-reach, 0],
    ])
      context.lineTo(x + dx, y + dy);
    context.closePath();
    context.fill();
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** Colours of the style sheet as numbers, because light and dark differ. */
export function paletteOf(named) {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => {
    const hex = style.getPropertyValue(name).trim().replace("#", "");
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  };
  const grey = rgb("--grey");
  const hues = Array.from({ length: 15 }, (_, at) => (at < named ? rgb(`--hue${at}`) : grey));
  return { palette: [grey, ...hues], low: rgb("--ramp0"), high: rgb("--ramp1"), shades: false };
}
