// Owns how the outline of a sound is drawn.

const PEAKS_HZ = 50; // of the outline in tracks.json (service/sounds.py)

// `peaks`: [lowest, highest] sample 50 times a second, in 1/127 of the loudest.
export function paintOutline(pen, peaks, length_s, { width, height, color }) {
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = color;
  const middle = height / 2, reach = middle - 2;
  const index = (column) => Math.floor((column / width) * length_s * PEAKS_HZ);
  for (let column = 0; column < width; column++) {
    let low = 0, high = 0;
    for (let i = index(column); i < Math.max(index(column) + 1, index(column + 1)) && i < peaks.length; i++) {
      low = Math.min(low, peaks[i][0]);
      high = Math.max(high, peaks[i][1]);
    }
    pen.fillRect(column, middle - (high / 127) * reach, 1, Math.max(1, ((high - low) / 127) * reach));
  }
}
