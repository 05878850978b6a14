"""Bowed and blown sounds made from scratch, with what soundfonts lack: slurs, glides, bows that change, vibrato.

`additive` draws a new instrument every time (partials through a random body); `waveguide` is a physical
model of a bowed string (Smith 1986; McIntyre, Schumacher & Woodhouse 1983), kept for measuring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
import scipy.signal

RATE_HZ = 22050
STEP = 64  # samples between values of the controls, 2.9 ms
CONTROL_HZ = RATE_HZ / STEP
PARTIALS = 24


@dataclass(frozen=True)
class Tone:
    """A note of one string: `slurred` from the note before, in the same bow."""

    onset_s: float
    offset_s: float
    pitch: int
    loud: float  # 0..1
    slurred: bool = False


@dataclass(frozen=True)
class Hand:
    """How a player bows and fingers; drawn once a recording."""

    attack_s: float  # median time in which a bow's tone swells
    release_s: float  # and dies away
    turn_s: float  # that a change of bow takes
    dip: float  # of the amplitude that is left in between
    glide_s: float  # from note to note in a slur
    cents: float  # depth of the vibrato
    vibrato_hz: float
    delay_s: float  # before the vibrato sets in
    untuned: float  # cents, standard deviation

    @classmethod
    def drawn(cls, chance: np.random.Generator) -> Hand:
        """Anyone's, from a beginner's to a virtuoso's."""
        return cls(
            attack_s=float(np.exp(chance.uniform(np.log(0.008), np.log(0.13)))),
            release_s=float(np.exp(chance.uniform(np.log(0.015), np.log(0.25)))),
            turn_s=float(np.exp(chance.uniform(np.log(0.008), np.log(0.06)))),
            dip=float(chance.uniform(0, 0.75)),
            glide_s=float(np.exp(chance.uniform(np.log(0.006), np.log(0.09)))),
            cents=float(chance.choice([0, 8, 20, 35, 50])), vibrato_hz=float(chance.uniform(4.3, 7.2)),
            delay_s=float(chance.uniform(0, 0.3)), untuned=float(chance.uniform(2, 14)),
        )


def controls(tones: list[Tone], hand: Hand, length_s: float, chance: np.random.Generator,
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch (MIDI, fractional), amplitude, and the attack's noise, one value a `STEP`."""
    count = int(length_s * CONTROL_HZ) + 2
    time_s = np.arange(count) / CONTROL_HZ
    pitch, loud, noise = np.full(count, 60.0), np.zeros(count), np.zeros(count)
    level = 0.0  # at the end of the note before
    for i, tone in enumerate(tones):
        first = int(tone.onset_s * CONTROL_HZ)
        following = tones[i + 1] if i + 1 < len(tones) else None
        last = int(following.onset_s * CONTROL_HZ) if following else count
        end = min(int(tone.offset_s * CONTROL_HZ), last)
        here = slice(first, last)
        within_s = time_s[here] - tone.onset_s
        held_s = max(tone.offset_s - tone.onset_s, 0.03)
        shape = 1 + chance.uniform(-0.3, 0.5) * np.sin(np.pi * np.clip(within_s / held_s, 0, 1))
        shape *= np.exp(-chance.uniform(0, 1.2) * np.clip(within_s / held_s, 0, 1)) if chance.random() < 0.5 else 1
        peak = tone.loud * chance.uniform(0.8, 1.2)
        tuned = tone.pitch + chance.normal(0, hand.untuned) / 100
        if tone.slurred and i:
            rise = np.clip(within_s / (0.03 + hand.glide_s), 0, 1)
            curve = level + (peak * shape - level) * rise
            curve *= 1 - chance.uniform(0, 0.35) * np.exp(-((within_s - hand.glide_s / 2) / 0.02) ** 2)
            glide_s = hand.glide_s * chance.uniform(0.4, 1.4)
            from_pitch = pitch[first - 1] if first else tuned
            course = tuned + (from_pitch - tuned) * np.clip(1 - within_s / glide_s, 0, 1)
        else:
            attack_s = min(hand.attack_s * np.exp(chance.normal(0, 0.3)), 0.7 * held_s)
            rise = (1 - np.exp(-3 * np.clip(within_s / attack_s, 0, 1.5))) / (1 - np.exp(-4.5))
            begin = level * hand.dip
            curve = begin + (peak * shape - begin) * rise
            scoop = chance.normal(0, 25) if chance.random() < 0.4 else 0
            course = tuned + scoop / 100 * np.exp(-within_s / 0.04)
            noise[here] += peak * chance.uniform(0.2, 1) * np.exp(-within_s / chance.uniform(0.01, 0.05))
        depth = hand.cents / 100 * chance.uniform(0.5, 1.2) * np.clip((within_s - hand.delay_s) / 0.15, 0, 1)
        rate = hand.vibrato_hz * chance.uniform(0.93, 1.07)
        pitch[here] = course + depth * np.sin(2 * np.pi * rate * within_s + chance.uniform(0, 6)) \
            + 0.03 * scipy.signal.lfilter([0.05], [1, -0.95], chance.normal(0, 1, last - first))
        curve = curve * (1 + 0.5 * depth * np.sin(2 * np.pi * rate * within_s))
        if following and not following.slurred and following.onset_s - tone.offset_s < 0.02:
            turn = max(int(hand.turn_s * chance.uniform(0.5, 1.5) * CONTROL_HZ), 1)
            a = max(end - turn, first)
            curve[a - first : end - first] *= np.linspace(1, hand.dip, end - a)
        if end < last:
            at = curve[max(end - first - 1, 0)]
            curve[end - first :] = at * np.exp(-np.arange(last - end) / CONTROL_HZ / (hand.release_s / 2.3))
        loud[here] = curve
        level = float(curve[-1]) if last > first else level
    return pitch, np.maximum(loud, 0), noise


@numba.njit(cache=True)
def _partials(hz: np.ndarray, loud: np.ndarray, lag: np.ndarray, samples: int) -> np.ndarray:
    """Sum of the partials of a tone: hz (controls,), their amplitudes (controls, partials) and phases (partials,)."""
    out = np.zeros(samples)
    ahead, beside = np.cos(lag), np.sin(lag)
    phase = 0.0
    for i in range(samples):
        k, x = i // STEP, (i % STEP) / STEP
        phase += 2 * np.pi * (hz[k] + x * (hz[k + 1] - hz[k])) / RATE_HZ
        cos, sin = np.cos(phase), np.sin(phase)
        c, s = cos, sin
        for n in range(loud.shape[1]):
            out[i] += (loud[k, n] + x * (loud[k + 1, n] - loud[k, n])) * (s * ahead[n] + c * beside[n])
            c, s = c * cos - s * sin, s * cos + c * sin
    return out


def _coloured(noise: np.ndarray, gain: np.ndarray, rate_hz: int) -> np.ndarray:
    """Through a filter that is given by its gain at 0, 10, 20 .. Hz; none beyond."""
    size = scipy.fft.next_fast_len(len(noise))
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    colour = np.interp(hz, np.arange(len(gain)) * 10.0, gain, right=0.0)
    return scipy.fft.irfft(scipy.fft.rfft(noise, size) * colour, size)[: len(noise)]


def body(chance: np.random.Generator) -> np.ndarray:
    """Gain of a resonating body at 0, 10, 20 .. Hz."""
    hz = np.arange(0, RATE_HZ / 2 + 10, 10.0)
    gain_db = np.zeros(len(hz))
    for centre in np.exp(chance.uniform(np.log(180), np.log(7000), chance.integers(6, 22))):
        width = centre * chance.uniform(0.03, 0.3)
        gain_db += chance.normal(0, 6) * np.exp(-(((hz - centre) / width) ** 2))
    gain_db += chance.uniform(0, 9) * np.exp(-(((hz - 2600) / 900) ** 2))
    gain_db -= chance.uniform(0, 14) * np.clip((hz - 3000) / 4000, 0, 1)
    gain_db -= chance.uniform(0, 15) * (hz < chance.uniform(120, 260))
    return np.asarray(10 ** (gain_db / 20))


def additive(lines: list[list[Tone]], chance: np.random.Generator, length_s: float) -> np.ndarray:
    """Some strings of one instrument that no one has heard before; samples at `RATE_HZ`."""
    hand, gain = Hand.drawn(chance), body(chance)
    h = np.arange(1, PARTIALS + 1)
    slope = chance.uniform(0.5, 1.9)
    partials = h ** -slope * np.exp(chance.normal(0, 0.4, PARTIALS))
    if chance.random() < 0.15:  # a pipe that is closed at one end
        partials[1::2] *= chance.uniform(0.02, 0.3)
    hiss_db, scratch_db = chance.uniform(-60, -28), chance.uniform(-45, -14)
    samples = int(length_s * RATE_HZ)
    sound, loudness = np.zeros(samples), np.zeros(samples)
    for tones in lines:
        pitch, loud, noise = controls(tones, hand, length_s, chance)
        hz = 440 * 2 ** ((pitch - 69) / 12)
        there = h * hz[:, None]
        amplitudes = partials * gain[np.minimum(there / 10, len(gain) - 1).astype(int)] * (there < 0.48 * RATE_HZ)
        amplitudes *= loud[:, None] * np.clip(loud / 0.7, 0.05, 1.3)[:, None] ** (0.25 * (h - 1) ** 0.5)
        sound += _partials(hz, amplitudes, chance.uniform(0, 6, PARTIALS), samples)
        hiss = loud * 10 ** (hiss_db / 20) + noise * 10 ** (scratch_db / 20)
        loudness += np.interp(np.arange(samples) / STEP, np.arange(len(hiss)), hiss)
    return sound + loudness * _coloured(chance.normal(0, 1, samples), gain, RATE_HZ)


@numba.njit(cache=True)
def _string(hz: np.ndarray, velocity: np.ndarray, pressure: np.ndarray, beta: float, rate_hz: float) -> np.ndarray:
    """Bow and string: two delay lines that meet at the bow, whose friction falls with the slip."""
    size = 4096
    bridge, neck, out = np.zeros(size), np.zeros(size), np.zeros(len(hz))
    smooth = 0.0
    for i in range(len(hz)):
        period = rate_hz / hz[i] - 2.4
        ahead, behind = period * beta, period * (1 - beta)
        k = int(ahead)
        x = bridge[(i - k) % size] * (1 - ahead + k) + bridge[(i - k - 1) % size] * (ahead - k)
        k = int(behind)
        y = neck[(i - k) % size] * (1 - behind + k) + neck[(i - k - 1) % size] * (behind - k)
        smooth = 0.45 * smooth + 0.53 * x
        from_bridge, from_nut = -smooth, -0.995 * y
        slip = velocity[i] - (from_bridge + from_nut)
        grip = min((abs(slip * (5 - 4 * pressure[i]) + 0.001) + 0.75) ** -4, 1.0)
        push = slip * grip if pressure[i] > 0 else 0.0
        neck[(i + 1) % size] = from_bridge + push
        bridge[(i + 1) % size] = from_nut + push
        out[i] = x
    return out


def waveguide(lines: list[list[Tone]], chance: np.random.Generator, length_s: float, hand: Hand | None = None,
              ) -> np.ndarray:
    """Some strings, bowed by a given hand or anyone's; samples at `RATE_HZ`."""
    hand, gain = hand or Hand.drawn(chance), body(chance) ** 0.6
    fine = 2 * RATE_HZ
    samples = int(length_s * RATE_HZ)
    sound = np.zeros(samples * 2)
    beta = chance.uniform(0.07, 0.16)
    for tones in lines:
        pitch, loud, _ = controls(tones, hand, length_s, chance)
        stroke = np.ones(len(loud))
        down = 1.0
        for tone in tones:  # every bow goes the other way
            if not tone.slurred:
                down = -down
            stroke[int(tone.onset_s * CONTROL_HZ) :] = down
        x = np.arange(2 * samples) / (2 * STEP)
        at = np.arange(len(loud))
        bow = np.interp(x, at, scipy.signal.lfilter([0.5, 0.5], [1], stroke * loud)) * 0.12
        sound += _string(440 * 2 ** ((np.interp(x, at, pitch) - 69) / 12), bow,
                         np.clip(np.interp(x, at, (loud > 0.03) * chance.uniform(0.65, 0.9)), 0, 1), beta, fine)
    gain[:6] = 0
    return _coloured(sound, gain, fine)[::2]
