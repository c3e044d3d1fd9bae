"""The training loop: from the newest checkpoint to the last step, through both stages.

May be killed at any moment: a checkpoint appears whole or not at all, and the same command goes on from the newest.
"""

import contextlib
import dataclasses
import json
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm

from gencomp.files import write_atomically

from .checkpoint import (
    Checkpoint,
    CheckpointError,
    averaged,
    checkpoints,
    initial_weights,
    load_checkpoint,
    save_checkpoint,
)
from .data.batches import StepSampler, batches, share_of
from .data.crops import Crops
from .export import CALIBRATION, ORIGIN, calibration_latents
from .objective import running_rate
from .recipes import Recipe, learning_rate, stage_at, stage_span, to_json
from .trainer import Figures, Trainer
from .watch import GRID, VALIDATED, RunLog, Stopwatch, Window, memory_gib, readable, save_samples, validate

STOP_CHECK_EVERY = 10  # steps between which several processes ask each other whether to stop


class Stopped(Exception):
    """The run was asked to stop (SIGTERM) and has saved its state; `step` says where."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}; the same command goes on from there")
        self.step = step


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is kept and watched; nothing here changes what is trained.

    Intervals in steps; 0 switches off. trackers: as Accelerate names them. weights: folder of feature networks.
    """

    save_every: int = 500
    keep: int = 2
    log_every: int = 50
    sample_every: int = 0
    validate_every: int = 0
    validate_on: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    weights: str | None = None
    stream: bool = False


def run(
    recipe: Recipe, data: list[str], out: Path, *, init: Path | None = None, options: Options | None = None
) -> Path:
    """Train to `recipe.steps`, resuming from the newest checkpoint under `out`; returns the last checkpoint.

    data: sources as `sources.open_source` takes them. init: a model file or a run to start from. Raises Stopped after
    SIGTERM, CheckpointError, SourceError, WeightsError, or OSError for a disk that cannot be written.
    """
    options = options or Options()
    set_seed(recipe.seed)
    # 1x1 weights have two equal layouts; the reducer warns about the one that channels_last gives them
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    accelerator = Accelerator(
        mixed_precision=recipe.precision,
        log_with=list(options.trackers) or None,
        project_dir=str(out) if options.trackers else None,
    )
    share_of(recipe, accelerator.num_processes)
    loop = Loop(recipe, data, out, options, accelerator)
    with _on_sigterm() as asked:
        loop.start(init)
        while loop.trainer.step < recipe.steps:
            loop.train_stage(asked)
    accelerator.end_training()
    return checkpoints(out)[-1]


@contextlib.contextmanager
def _on_sigterm() -> Iterator[list[int]]:
    """A list that is filled when SIGTERM comes; the old handler is put back at the end."""
    asked: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        asked.append(number)

    try:
        before = signal.signal(signal.SIGTERM, remember)
    except ValueError:  # not the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


class Loop:
    """A run on this process: the trainer of the current stage, its data and its log."""

    def __init__(self, recipe: Recipe, data: list[str], out: Path, options: Options, accelerator: Accelerator) -> None:
        self.recipe, self.data, self.out, self.options, self.accelerator = recipe, data, out, options, accelerator
        self.main = accelerator.is_main_process
        self.window, self.watch = Window(), Stopwatch()
        self.broken: set[str] = set()

    def start(self, init: Path | None) -> None:
        """Make the folder, and the trainer at the newest checkpoint, at `init`, or at the beginning."""
        if self.main:
            self.out.mkdir(parents=True, exist_ok=True)
        saved = checkpoints(self.out)
        newest = load_checkpoint(saved[-1]) if saved else None
        self.accelerator.wait_for_everyone()
        if newest is not None and newest.step > self.recipe.steps:
            raise CheckpointError(f"{self.out} has {newest.step} steps already, over the {self.recipe.steps} asked for")
        begin = newest.step if newest else 0
        stage = stage_at(self.recipe, begin)
        first = begin == stage_span(self.recipe, stage)[0]
        self.trainer = Trainer(self.recipe, self.accelerator, stage, self.options.weights)
        if newest is not None and (newest.meta.get("stage", 1) == stage or not first):
            self._resume(newest)
        elif newest is not None:
            self.trainer.start_from(averaged(newest.tensors))
        elif init is not None:
            self.trainer.start_from(initial_weights(init))
        elif stage == 2 and self.recipe.trains == "synthesis":
            raise CheckpointError(f"{self.recipe.name} goes on from a trained codec: name a model or a run with --init")
        if self.main:
            self._write_facts(init if newest is None else None)
        self.log = RunLog(self.out, self.accelerator, list(self.options.trackers), json.loads(to_json(self.recipe)))
        if newest is not None:
            self.log.write({"step": newest.step, "stage": stage, "resumed_from": str(saved[-1].name), **self._size()})

    def _write_facts(self, init: Path | None) -> None:
        write_atomically(self.out / "recipe.json", to_json(self.recipe).encode())
        named = [str(Path(d).resolve()) if Path(d).exists() else d for d in self.data]
        write_atomically(self.out / "data.json", json.dumps(named).encode())
        if init is not None and init.is_file() and init.parent.name != "checkpoints":
            shutil.copyfile(init, self.out / ORIGIN)

    def _resume(self, saved: Checkpoint) -> None:
        self.trainer.restore(saved)
        if "window" in saved.meta:
            self.window.restore(saved.meta["window"], self.accelerator.device)

    def _size(self) -> dict[str, Any]:
        return {"processes": self.accelerator.num_processes}

    def train_stage(self, asked: list[int]) -> None:
        """To the end of the current stage, then over to the next."""
        stop = stage_span(self.recipe, self.trainer.stage)[1]
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        sampler = StepSampler(self.recipe, self.trainer.step, stop, rank, processes)
        bar = tqdm(
            total=self.recipe.steps, initial=self.trainer.step, disable=not self.main, mininterval=2, unit="step"
        )
        loader = iter(batches(self.data, self.recipe, sampler, streamed=self.options.stream))
        with bar:
            while self.trainer.step < stop:
                self.watch.waiting()
                batch = next(loader)
                self.watch.working()
                self._note_broken(batch.broken)
                self._collect(self.trainer.train_step(batch))
                bar.update()
                self._after_step(bar, stop, self._must_stop(asked))
        if self.trainer.step < self.recipe.steps:
            self._next_stage()

    def _next_stage(self) -> None:
        finished = self.trainer.checkpoint()
        self.accelerator.free_memory()
        self.trainer = Trainer(self.recipe, self.accelerator, self.trainer.stage + 1, self.options.weights)
        self.trainer.start_from(averaged(finished.tensors))
        self.window = Window()

    def _collect(self, figures: Figures) -> None:
        """The step's figures, means over all samples of all processes."""
        names = list(figures)
        values = torch.stack([figures[n].double() for n in names])
        values = self.accelerator.reduce(values, "mean")
        self.window.add(names, values)
        if self.trainer.controlled and "bpp" in figures:
            self.trainer.bpp = running_rate(self.recipe.rate, self.trainer.bpp, float(values[names.index("bpp")]))

    def _must_stop(self, asked: list[int]) -> bool:
        """Whether any process was asked to stop; all of them give the same answer at the same step."""
        if self.accelerator.num_processes == 1:
            return bool(asked)
        if self.trainer.step % STOP_CHECK_EVERY:
            return False
        flag = torch.tensor([len(asked)], dtype=torch.float32, device=self.accelerator.device)
        return float(self.accelerator.reduce(flag, "sum")) > 0

    def _after_step(self, bar: Any, stop: int, stopping: bool) -> None:
        step, options = self.trainer.step, self.options
        if step % options.log_every == 0:
            self._log(bar)
        if stopping or step % options.save_every == 0 or step == stop:
            self._save()
        if options.validate_every and step % options.validate_every == 0:
            self._validate()
        if options.sample_every and step % options.sample_every == 0 and self.main:
            pictures = torch.stack([p.permute(2, 0, 1) for p in self._fixed_pictures(GRID)]).float() / 255
            self.log.picture(save_samples(self.trainer.average, pictures, self.out, step), step)
        if stopping and step < self.recipe.steps:
            self.accelerator.end_training()
            raise Stopped(step)

    def _log(self, bar: Any) -> None:
        steps, means = self.window.count, readable(self.window.means())
        self.window = Window()
        bad = [name for name, value in means.items() if value != value or abs(value) == float("inf")]
        if bad:
            saved = checkpoints(self.out)
            where = f"; {saved[-1].name} is from before" if saved else ""
            raise CheckpointError(
                f"{bad[0]} is not a finite number at step {self.trainer.step}: lower learning_rate{where}"
            )
        elapsed, waited = self.watch.lap()
        line: dict[str, Any] = {"step": self.trainer.step, "stage": self.trainer.stage, **means}
        line |= {"d_loss": means.get("d_loss"), "images_a_second": steps * self.recipe.batch / elapsed}
        line |= {"data_wait": waited / elapsed, "memory_gib": memory_gib(self.accelerator.device), **self._size()}
        line |= {"broken": len(self.broken), "lr": learning_rate(self.recipe, self.trainer.step - 1)}
        self.log.write(line)
        shown = {k: f"{means[k]:.3g}" for k in ("bpp", "psnr", "g_loss", "d_loss") if k in means}
        bar.set_postfix(shown | {"im/s": f"{line['images_a_second']:.1f}", "wait": f"{100 * line['data_wait']:.0f}%"})

    def _save(self) -> None:
        """One process writes; the others wait, so that all of them can be killed together."""
        self.accelerator.wait_for_everyone()
        if self.main:
            saved = self.trainer.checkpoint()
            meta = {"recipe": json.loads(to_json(self.recipe)), "window": self.window.state(), **saved.meta}
            save_checkpoint(self.out, saved._replace(meta=meta), self.options.keep)
        self.accelerator.wait_for_everyone()

    def _validate(self) -> None:
        if self.main:
            network = self.trainer.average
            if not self.options.stream:
                calibration = calibration_latents(network, self.data, CALIBRATION // 2)
                images = [p.numpy() for p in self._fixed_pictures(VALIDATED)]
                realism = self.trainer.stage == 2 and network.knows_realism
                done = validate(network, calibration, images, realism=realism)
                line = {"step": self.trainer.step, "stage": self.trainer.stage}
                on = "held-out photographs" if self.options.validate_on else "training photographs"
                self.log.write(line | {f"file_{k}": v for k, v in done._asdict().items()} | {"validated_on": on})
        self.accelerator.wait_for_everyone()

    def _fixed_pictures(self, count: int) -> list[Tensor]:
        """The same crops every time, uint8 [H, W, 3], of the photographs to validate on, or of the training ones."""
        names = list(self.options.validate_on) or self.data
        recipe = dataclasses.replace(self.recipe, seed=2**31 - 2, crop=max(256, self.recipe.crop))
        crops = Crops(names, recipe)
        return [crops[number].pixels.permute(1, 2, 0).contiguous() for number in range(count)]

    def _note_broken(self, names: list[str]) -> None:
        for name in names:
            if name not in self.broken:
                self.broken.add(name)
                tqdm.write(f"skipped, not readable as a photograph: {name}")
