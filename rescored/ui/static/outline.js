// Owns how the outline of a sound is drawn.

// `peaks`: [lowest, highest, ...] of equal stretches, in 1/127 of the loudest; `density`: how many lie in a pixel.
export function paintOutline(pen, peaks, density, { width, height, color }) {
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = color;
  const middle = height / 2, reach = middle - 2;
  for (let column = 0; column < width; column++) {
    const from = Math.floor(column * density), to = Math.max(from + 1, Math.floor((column + 1) * density));
    let low = Infinity, high = -Infinity;
    for (let i = from; i < to && i < peaks.length; i++) {
      low = Math.min(low, peaks[i][0]);
      high = Math.max(high, peaks[i][1]);
    }
    if (low <= high) pen.fillRect(column, middle - (high / 127) * reach, 1, Math.max(1, ((high - low) / 127) * reach));
  }
}
