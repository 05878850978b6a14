"""Piano to notes with Transkun 2.0: note intervals scored by a transformer, decoded by a semi-CRF.

Yan & Duan, "Scoring Time Intervals using Non-Hierarchical Transformer for Automatic Piano
Transcription", ISMIR 2024. The checkpoint (MIT, 56 MB) is in the wheel. The networks are the
package's own; the way through a recording is ours: overlapping segments in batches, attention that
reaches torch's fused kernel, and scores that are decoded where they lie.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ModelUnavailable
from ...models import device, load_once
from ...music import Audio, Heard, Note, Span
from ...room import Samples, let_go
from ...stage import Report
from ..audio import QUIETEST
from ..frames import cut
from ..resample import resample

RATE_HZ = 44100
HOP = 1024  # samples a frame
FRAME_S = HOP / RATE_HZ  # 23 ms
SEGMENT = 689  # frames, 16 s: what the model was trained on
STEP = 517  # frames, 12 s: the same notes as with the authors' 8 s; at 14 s some are lost
LEAD = SEGMENT - STEP  # so much before the recording begins the first segment
GPU_BATCH = 4  # segments at a time, about 2 GB; a CPU gains nothing from more than one

SUSTAIN = -64  # the model's "pitch" of the sustain pedal (-67 is the soft pedal)
NEAR_MISS = -1.5  # log-odds from which a note that was not taken is offered to the user
APART = 4  # frames between two near-misses of one pitch


def hear_piano(audio: Audio, report: Report) -> Heard:
    """Every note of a piano recording, when its pedal was down, and near-misses.

    A note's confidence is the model's own: the logistic function of its interval's score, which
    in the semi-CRF is the log-odds of this note against silence in its place. Ids are left empty.
    """
    sound = resample(audio.samples, audio.rate_hz, RATE_HZ)
    where = device()
    model = load_once("transkun", load).to(where)
    pitches: list[int] = model.targetMIDIPitch
    found: list[list[Event]] = [[] for _ in pitches]
    missed: list[list[Event]] = [[] for _ in pitches]
    free = [LEAD] * len(pitches)  # by pitch: the segment's frame from which on a note may begin
    begins = range(-LEAD, max(sound.shape[1] // HOP - LEAD, 1 - LEAD), STEP)
    size = 1 if where == "cpu" else GPU_BATCH
    for first in range(0, len(begins), size):
        report(first / len(begins), "listening to the piano")
        batch = begins[first : first + size]
        segments = [cut(sound, begin * HOP, SEGMENT * HOP) for begin in batch]  # silence outside of the recording
        let_go(sound)
        with torch.inference_mode():
            for begin, scored in zip(batch, _score(model, segments), strict=True):
                heard = _events(model, scored, _taken(scored, free), begin) if scored else []
                free = [0] * len(pitches)
                for symbol, event in heard:
                    _join(found[symbol], event)
                    if event.has_offset:
                        free[symbol] = max(event.last - begin - STEP, 0)
                for symbol, event in _events(model, scored, _near_misses(scored), begin) if scored else []:
                    missed[symbol].append(event)
    found = [_finished(events) for events in found]
    keys = [(p, played, near) for p, played, near in zip(pitches, found, missed, strict=True) if p > 0]
    return Heard(
        notes=tuple(_note(p, e) for p, played, _ in keys for e in played),
        pedal=tuple(Span(e.start_s, e.end_s) for e in found[pitches.index(SUSTAIN)]),
        candidates=tuple(_note(p, e) for p, played, near in keys for e in _likeliest(near, played)),
        transcriber="transkun",
    )


# ---------------------------------------------------------------- scores of intervals


@dataclass
class Scored:
    """What the model says of one segment, by symbol (two pedals, then 88 keys) and frame.

    `context`, shape (symbols, frames, d), are embeddings. `score`, shape (symbols, frames, frames),
    is the log-odds of an interval by first and last frame, -inf if they are not in order; `instant`,
    shape (symbols, frames), that of an event within one frame. `following`, by symbol and frame, leads
    along the best path: the last frame of the interval that begins here, or -1 where none does.
    """

    context: Tensor
    score: Tensor
    instant: Tensor
    following: list[list[int]]


def _score(model: Any, segments: list[Samples]) -> list[Scored | None]:
    """The model's scores of each segment, or None for a silent one."""
    from transkun.Util import makeFrame

    loud = [i for i, s in enumerate(segments) if np.abs(s).max() > QUIETEST]
    scored: list[Scored | None] = [None] * len(segments)
    if not loud:
        return scored
    where = next(model.parameters()).device
    frames = makeFrame(torch.from_numpy(np.stack([segments[i] for i in loud])).to(where), HOP, model.windowSize)
    frames = frames - frames.mean(dim=(1, 2, 3), keepdim=True)
    frames = frames / (frames.std(dim=(1, 2, 3), keepdim=True) + 1e-8)
    features = model.framewiseFeatureExtractor(frames)[:, 0].contiguous()
    with torch.autocast(where.type, dtype=torch.bfloat16, enabled=_has_bfloat16(where)):
        contexts = model.backbone(features, outputIndices=torch.tensor(model.targetMIDIPitch, device=where))
    size = model.scorer.size * model.scorer.expansionFactor
    frame = torch.arange(frames.shape[-2], device=where, dtype=torch.float32)
    length = (frame - frame[:, None]) / size**0.5
    for i, context in zip(loud, contexts.float(), strict=True):
        last, first, instant = model.scorer.map(context).split([size, size, 1], dim=-1)
        score = (first @ last.transpose(1, 2)).mul_(length).masked_fill_(length <= 0, -torch.inf)
        scored[i] = Scored(context, score, instant[..., 0], _best_path(score, instant[..., 0]))
    return scored


def _has_bfloat16(where: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there; elsewhere it is emulated."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return where.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _best_path(score: Tensor, instant: Tensor) -> list[list[int]]:
    """Through every symbol's intervals the way of highest total score (Viterbi, from the end)."""
    gain = instant.clamp(min=0)  # an event within one frame is taken wherever it is likely
    following = torch.full(gain.shape, -1, device=score.device)
    for t in range(gain.shape[1] - 2, -1, -1):
        best, after = (gain[:, t + 1 :] + score[:, t, t + 1 :]).max(dim=1)
        wait = gain[:, t + 1]
        following[:, t] = torch.where(best > wait, after + (t + 1), -1)
        gain[:, t] += torch.maximum(best, wait)
    paths: list[list[int]] = following.tolist()
    return paths


# ---------------------------------------------------------------- from intervals to notes

Interval = tuple[int, int, int, float]  # symbol, first frame, last frame, log-odds


@dataclass
class Event:
    """A note or a pedal, perhaps not all of it within its segment; times and frames of the recording."""

    start_s: float
    end_s: float
    last: int
    velocity: int
    log_odds: float
    has_onset: bool
    has_offset: bool


def _taken(scored: Scored, free: list[int]) -> list[Interval]:
    """The intervals on the best path of every symbol, from its first free frame on."""
    at_once = (scored.instant > 0).tolist()
    taken = []
    for symbol, following in enumerate(scored.following):
        t = free[symbol]
        while t < len(following):
            if at_once[symbol][t]:
                taken.append((symbol, t, t))
            if following[t] > 0:
                taken.append((symbol, t, following[t]))
            t = following[t] if following[t] > 0 else t + 1
    return _with_score(scored, taken)


def _near_misses(scored: Scored) -> list[Interval]:
    """Each key's likeliest intervals, in the part of the segment that no other has in its middle."""
    best, last = scored.score.max(dim=2)
    peaks = best == F.max_pool1d(best, 2 * APART + 1, stride=1, padding=APART)
    peaks &= best > NEAR_MISS
    peaks[:, : LEAD // 2] = peaks[:, LEAD // 2 + STEP :] = False
    return _with_score(scored, [(s, t, int(last[s, t])) for s, t in peaks.nonzero().tolist()])


def _with_score(scored: Scored, intervals: list[tuple[int, int, int]]) -> list[Interval]:
    if not intervals:
        return []
    s, a, b = torch.tensor(intervals, device=scored.score.device).T
    log_odds = torch.where(a == b, scored.instant[s, a], scored.score[s, a, b])
    return [(*i, x) for i, x in zip(intervals, log_odds.tolist(), strict=True)]


def _events(model: Any, scored: Scored, intervals: list[Interval], begin: int) -> list[tuple[int, Event]]:
    """Intervals with the velocity and the exact times that the model reads off their ends."""
    if not intervals:
        return []
    s, a, b = torch.tensor([i[:3] for i in intervals], device=scored.context.device).T
    first, last = scored.context[s, a], scored.context[s, b]
    ends = torch.cat([first, last, first * last], dim=-1)
    velocity = model.velocityPredictor(ends).argmax(-1)
    shift, presence = model.refinedOFPredictor(ends).chunk(2, dim=-1)
    shift = (torch.distributions.ContinuousBernoulli(logits=shift).mean - 0.5) / 0.99
    shift = shift.clamp(-0.5, 0.5)
    events = []
    rows = zip(intervals, velocity.tolist(), shift.tolist(), (presence > 0).tolist(), strict=True)
    for (symbol, at, to, log_odds), loud, (early, late), (has_onset, has_offset) in rows:
        start_s = max((begin + at + early) * FRAME_S, 0.0)
        events.append((symbol, Event(
            start_s, max((begin + to + late) * FRAME_S, start_s), begin + to, max(loud, 1), log_odds,
            has_onset=at > 0 or has_onset, has_offset=to < SEGMENT or has_offset,
        )))
    return events


def _join(events: list[Event], event: Event) -> None:
    """Add what a later segment heard of one pitch: a note that went on, or that it knows better."""
    if events and event.start_s < events[-1].end_s:
        if event.has_onset:
            events[-1] = event
        else:
            before = events[-1]
            events[-1] = replace(before, end_s=max(before.end_s, event.end_s), has_offset=event.has_offset)
    elif event.has_onset:
        events.append(event)


def _finished(events: list[Event]) -> list[Event]:
    """One pitch's events that end, each at the latest where the next begins."""
    ended = [e for e in events[:-1] if e.has_offset] + events[-1:]
    nexts = [*(e.start_s for e in ended[1:]), np.inf]
    cut = [replace(e, end_s=min(e.end_s, next_s)) for e, next_s in zip(ended, nexts, strict=False)]
    return [e for e in cut if e.end_s > e.start_s]


def _likeliest(events: list[Event], notes: list[Event]) -> list[Event]:
    """The near-misses of one pitch that meet neither its notes nor a likelier near-miss."""
    kept: list[Event] = []
    sounding = sorted((e.start_s, e.end_s) for e in notes)  # of these no two meet
    for event in sorted(events, key=lambda e: -e.log_odds):
        i = bisect_left(sounding, (event.end_s,))
        if i == 0 or sounding[i - 1][1] <= event.start_s:
            sounding.insert(i, (event.start_s, event.end_s))
            kept.append(event)
    return kept


def _note(pitch: int, event: Event) -> Note:
    confidence = float(1 / (1 + np.exp(-event.log_odds)))
    return Note("", event.start_s, event.end_s, pitch, event.velocity, round(confidence, 4))


# ---------------------------------------------------------------- the package, without what it imports


def load() -> Any:
    """The model, ready for inference; of what transkun imports, only torch and numpy are needed."""
    package = importlib.util.find_spec("transkun")
    if package is None or package.submodule_search_locations is None:
        raise ModelUnavailable("Transkun is not installed.", "Run `make setup`, or choose the transcriber basic-pitch.")
    folder = Path(package.submodule_search_locations[0]) / "pretrained"
    with _stand_ins():
        from transkun import LayersTransformer
        from transkun.ModelTransformer import Config, TransKun

        LayersTransformer.MultiHeadAttentionKernel.forward = _fused_attention
        config = Config()
        config.__dict__.update(json.loads((folder / "2.0.conf").read_text())["Model"]["config"])
        model = TransKun(conf=config)
    weights = torch.load(folder / "2.0.pt", map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict(weights, strict=True)  # strict: the filterbank, too, comes from here
    model.backbone.useGradientCheckpoint = False
    return model.eval().requires_grad_(False)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """In place of torchaudio, which does not load beside every torch and is called once, for a
    filterbank that the checkpoint then overwrites."""

    def no_filterbank(n_freqs: int, n_mels: int, **_: Any) -> Tensor:
        return torch.zeros(n_freqs, n_mels)

    stand_in = types.ModuleType("torchaudio")
    stand_in.__dict__["functional"] = types.SimpleNamespace(melscale_fbanks=no_filterbank)
    before = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = stand_in
    try:
        yield
    finally:
        if before is None:
            del sys.modules["torchaudio"]
        else:
            sys.modules["torchaudio"] = before


def _fused_attention(self: Any, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
    """The layer's attention on 4-D tensors, which reach torch's fused kernel; its own 5-D ones do not."""
    key = query if key is None else key
    value = key if value is None else value
    pairs = ((query, self.q_proj_weight), (key, self.k_proj_weight), (value, self.v_proj_weight))
    q, k, v = ((x @ w).reshape(-1, x.shape[-2], self.num_heads, self.head_dim).transpose(1, 2) for x, w in pairs)
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2, -1)
    return self.out_proj(out.reshape(*query.shape[:-1], out.shape[-1]))  # type: ignore[no-any-return]
