// Pans and zooms the map by pointer, wheel, pinch and keys, and reports where the pointer rests and clicks.

const KEY_STEP = 60; // pixels
const ZOOM_STEP = 1.5;
const STILL = 4; // a press that moves less is a click
const KEYS = {
  ArrowLeft: (points) => points.pan(KEY_STEP, 0),
  ArrowRight: (points) => points.pan(-KEY_STEP, 0),
  ArrowUp: (points) => points.pan(0, KEY_STEP),
  ArrowDown: (points) => points.pan(0, -KEY_STEP),
  "+": (points) => zoomMiddle(points, ZOOM_STEP),
  "=": (points) => zoomMiddle(points, ZOOM_STEP),
  "-": (points) => zoomMiddle(points, 1 / ZOOM_STEP),
  0: (points) => {
    points.home();
    points.draw();
  },
};

export const zoomMiddle = (points, factor) => points.zoomAt(points.canvas.width / 2, points.canvas.height / 2, factor);

/** read() returns the Points, or null; onhover and onclick are called with the pixel and the event. */
export function attachNavigation(canvas, read, { onhover, onclick }) {
  const held = new Map(); // pointers that are down: id → [x, y]
  let moved = 0;

  const pixel = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio];
  };
  const middle = () => [0, 1].map((axis) => [...held.values()].reduce((sum, at) => sum + at[axis], 0) / held.size);
  const spread = () => {
    const [a, b] = [...held.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, pixel(event));
    if (held.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const points = read();
    if (!points) return;
    const [x, y] = pixel(event);
    if (!held.has(event.pointerId)) return onhover(x, y, event);
    const [before, wide] = [middle(), held.size > 1 ? spread() : 0];
    held.set(event.pointerId, [x, y]);
    const now = middle();
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (held.size > 1) {
      moved = Infinity;
      points.zoomAt(...now, spread() / wide);
    }
    points.pan(now[0] - before[0], now[1] - before[1]);
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    if (event.type === "pointerup" && held.size === 0 && moved < STILL * devicePixelRatio)
      onclick(...pixel(event), event);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", (event) => held.size || onhover(-1e6, -1e6, event));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      read()?.zoomAt(...pixel(event), Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (!read() || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key](read());
  });
}
