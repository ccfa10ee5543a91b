/** The outline of a sound, drawn as bars, with what was played in another colour. */

const BAR_PX = 3;
const GAP_PX = 2;
/** What each canvas shows: it is drawn anew only when that changes. @type {WeakMap<HTMLCanvasElement, { look: string, levels: number[] }>} */
const shown = new WeakMap();

/**
 * Draw an outline into a canvas as wide as its box; the colours are those of its style: `color`, and its border's for what was played.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} levels  from 0 to `loudest`
 * @param {number} played  from 0 to 1
 * @param {number} loudest
 */
export function draw(canvas, levels, played, loudest) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext("2d");
  if (!context || !width) return;
  const scale = devicePixelRatio || 1;
  const { color, borderTopColor } = getComputedStyle(canvas);
  const bars = Math.floor((width + GAP_PX) / (BAR_PX + GAP_PX));
  const playedBars = Math.round(played * bars);
  const look = [width, height, scale, color, borderTopColor, playedBars].join();
  const last = shown.get(canvas);
  if (last?.look === look && last.levels === levels) return;
  shown.set(canvas, { look, levels });
  canvas.width = Math.round(width * scale); // also clears it
  canvas.height = Math.round(height * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * levels.length) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * levels.length) / bars));
    const level = levels.length ? Math.max(...levels.slice(from, to)) / loudest : 0;
    const tall = Math.max(3, level * height);
    context.fillStyle = bar < playedBars ? borderTopColor : color;
    context.beginPath();
    context.roundRect(bar * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
    context.fill();
  }
}
