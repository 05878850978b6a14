// Owns the short tone of a note that is touched, so that one hears what one edits.

let context = null;

// A MIDI pitch, loud as its velocity says; drums knock.
export function tone(pitch, velocity = 80, percussion = false) {
  context ||= new AudioContext();
  context.resume();
  const at = context.currentTime + 0.005, out = context.createGain();
  const loud = 0.05 + 0.2 * (velocity / 127), length_s = percussion ? 0.12 : 0.7;
  out.gain.setValueAtTime(0, at);
  out.gain.linearRampToValueAtTime(loud, at + 0.006);
  out.gain.exponentialRampToValueAtTime(0.0004, at + length_s);
  out.connect(context.destination);
  const hz = percussion ? 160 : 440 * 2 ** ((pitch - 69) / 12);
  for (const [multiple, share] of [[1, 1], [2, 0.35], [3, 0.12]]) { // partials, as a struck string has them
    const wave = context.createOscillator(), level = context.createGain();
    wave.frequency.value = hz * multiple;
    level.gain.value = share;
    wave.connect(level).connect(out);
    wave.start(at);
    wave.stop(at + length_s);
  }
}
