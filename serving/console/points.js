// Points on a canvas by WebGL, with panning and zooming; without WebGL a part of them is drawn in two dimensions.

const VERTEX = `#version 300 es
in vec2 place; in float colour;
uniform vec2 scale, shift; uniform float size, only, shades; uniform vec3 palette[16]; uniform vec3 low, high;
out vec4 paint;
void main() {
  gl_Position = vec4(place * scale + shift, 0.0, 1.0);
  bool named = colour > 0.5 && (shades > 0.5 || colour < 15.5);
  bool lit = only < 0.5 || abs(only - colour) < 0.5;
  gl_PointSize = lit ? size : size * 0.7;
  vec3 own = shades > 0.5 ? mix(low, high, (colour - 1.0) / 254.0) : palette[int(min(colour, 15.0))];
  paint = vec4(named && lit ? own : palette[0], named && lit ? 0.85 : 0.35);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 paint; out vec4 result;
void main() {
  vec2 offset = gl_PointCoord - 0.5;
  float edge = 1.0 - smoothstep(0.2, 0.25, dot(offset, offset));
  if (edge <= 0.0) discard;
  result = vec4(paint.rgb, 1.0) * paint.a * edge;
}`;
const MAX_PLAIN = 50_000; // points drawn without WebGL
const MAX_ZOOM = 400;

/** A view of places (Uint16Array of x, y) in a canvas. The view is {x, y, zoom} over 0 … 65535. */
export class Points {
  constructor(canvas, places) {
    this.canvas = canvas;
    this.places = places;
    this.count = places.length / 2;
    this.colours = new Uint8Array(this.count);
    this.paint = { palette: [], low: [0, 0, 0], high: [1, 1, 1], shades: false };
    this.only = 0;
    this.home();
    this.gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    if (this.gl) this.prepare();
    else this.flat = canvas.getContext("2d");
  }

  home() {
    this.view = { x: 32768, y: 32768, zoom: 0.94 };
  }

  prepare() {
    const { gl } = this;
    this.program = gl.createProgram();
    for (const [type, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    this.buffers = ["place", "colour"].map((name) => {
      const buffer = gl.createBuffer();
      const at = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(
        at,
        name === "place" ? 2 : 1,
        name === "place" ? gl.UNSIGNED_SHORT : gl.UNSIGNED_BYTE,
        false,
        0,
        0,
      );
      return buffer;
    });
    this.load(0, this.places);
    this.load(1, this.colours);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  load(buffer, data) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[buffer]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.STATIC_DRAW);
  }

  /** Colours of the points and how they are painted: {palette, low, high, shades}. */
  setColours(colours, paint) {
    this.colours = colours;
    this.paint = paint;
    if (this.gl) this.load(1, colours);
    this.draw();
  }

  /** Pixels per unit; the same on both axes. */
  get unit() {
    return (this.view.zoom * Math.min(this.canvas.width, this.canvas.height)) / 65535;
  }

  /** Place → pixel of the canvas. */
  toPixel(x, y) {
    return [
      this.canvas.width / 2 + (x - this.view.x) * this.unit,
      this.canvas.height / 2 - (y - this.view.y) * this.unit,
    ];
  }

  toPlace(px, py) {
    return [
      this.view.x + (px - this.canvas.width / 2) / this.unit,
      this.view.y - (py - this.canvas.height / 2) / this.unit,
    ];
  }

  /** Zoom by a factor, and keep what is under the pixel where it is. */
  zoomAt(px, py, factor) {
    const [x, y] = this.toPlace(px, py);
    const zoom = Math.min(MAX_ZOOM, Math.max(0.5, this.view.zoom * factor));
    const change = this.view.zoom / zoom;
    this.view = { zoom, x: x + (this.view.x - x) * change, y: y + (this.view.y - y) * change };
    this.draw();
  }

  pan(dx, dy) {
    this.view.x -= dx / this.unit;
    this.view.y += dy / this.unit;
    this.draw();
  }

  lookAt(point, zoom) {
    this.view = { x: this.places[2 * point], y: this.places[2 * point + 1], zoom: Math.max(this.view.zoom, zoom) };
    this.draw();
  }

  /** Diameter in pixels: small for many points, and growing slowly with the zoom. */
  get size() {
    const density = Math.sqrt((this.canvas.width * this.canvas.height) / this.count) / 4.5;
    return Math.min(14, Math.max(1.5, Math.min(density, 7) * this.view.zoom ** 0.4)) * (devicePixelRatio > 1 ? 1.4 : 1);
  }

  /** Draw with the next frame, once. */
  draw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (this.gl) this.drawAll();
      else this.drawSome();
      this.ondraw?.();
    });
  }

  drawAll() {
    const { gl, canvas, paint, view } = this;
    const at = (name) => gl.getUniformLocation(this.program, name);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const scale = [(2 * this.unit) / canvas.width, (2 * this.unit) / canvas.height];
    gl.uniform2f(at("scale"), ...scale);
    gl.uniform2f(at("shift"), -view.x * scale[0], -view.y * scale[1]);
    gl.uniform1f(at("size"), this.size);
    gl.uniform1f(at("only"), this.only);
    gl.uniform1f(at("shades"), paint.shades ? 1 : 0);
    gl.uniform3fv(at("low"), paint.low);
    gl.uniform3fv(at("high"), paint.high);
    gl.uniform3fv(at("palette"), paint.palette.flat());
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  drawSome() {
    const { flat, canvas, paint } = this;
    flat.clearRect(0, 0, canvas.width, canvas.height);
    const text = (rgb) => `rgb(${rgb.map((part) => Math.round(255 * part)).join(" ")})`;
    const step = Math.ceil(this.count / MAX_PLAIN);
    for (let point = 0; point < this.count; point += step) {
      const colour = this.colours[point];
      const share = (colour - 1) / 254;
      const shade = () => paint.low.map((low, part) => low + share * (paint.high[part] - low));
      const isLit = colour > 0 && (!this.only || this.only === colour);
      flat.fillStyle = text(!isLit ? paint.palette[0] : paint.shades ? shade() : paint.palette[Math.min(colour, 15)]);
      const [x, y] = this.toPixel(this.places[2 * point], this.places[2 * point + 1]);
      flat.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
  }

  /** The point nearest to a pixel within a radius; −1 without one. Points are found by a grid, not one by one. */
  nearest(px, py, radius) {
    this.grid ??= makeGrid(this.places);
    const [x, y] = this.toPlace(px, py);
    const reach = radius / this.unit;
    let [best, least] = [-1, reach * reach];
    const [left, right, top, bottom] = [x - reach, x + reach, y - reach, y + reach].map(cellOf);
    for (let row = top; row <= bottom; row++) {
      for (let cell = row * CELLS + left; cell <= row * CELLS + right; cell++) {
        for (let at = this.grid.starts[cell]; at < this.grid.starts[cell + 1]; at++) {
          const point = this.grid.points[at];
          const distance = (this.places[2 * point] - x) ** 2 + (this.places[2 * point + 1] - y) ** 2;
          if (distance < least) [best, least] = [point, distance];
        }
      }
    }
    return best;
  }
}

const CELLS = 256;
const cellOf = (value) => Math.min(CELLS - 1, Math.max(0, value >> 8));

/** Points sorted by cell: cell c holds points[starts[c]] … points[starts[c + 1] - 1]. */
function makeGrid(places) {
  const count = places.length / 2;
  const starts = new Uint32Array(CELLS * CELLS + 1);
  const cell = (point) => (places[2 * point + 1] >> 8) * CELLS + (places[2 * point] >> 8);
  for (let point = 0; point < count; point++) starts[cell(point) + 1]++;
  for (let at = 0; at < CELLS * CELLS; at++) starts[at + 1] += starts[at];
  const [next, points] = [starts.slice(), new Uint32Array(count)];
  for (let point = 0; point < count; point++) points[next[cell(point)]++] = point;
  return { starts, points };
}
