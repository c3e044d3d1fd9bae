"""The training loop: from the newest checkpoint to the last step, through all stages.

May be killed at any moment: a checkpoint appears whole or not at all, and the same command goes on from the newest.
"""

import contextlib
import dataclasses
import json
import math
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm

from gencomp.files import shown, write_atomically
from gencomp.image import write_image
from gencomp.outputs import no_more_open_than
from gencomp.results import claim

from .checkpoint import CheckpointError, checkpoints, save_checkpoint
from .data.batches import StepSampler, batches, fixed_crops, open_data, share_of
from .data.sources import Sources
from .devices import own_device, peak_memory_gib, precision_of
from .export import CALIBRATION, ORIGIN, calibration_latents
from .log import RunLog, Stopwatch, Window, readable
from .procedures.contract import Metrics, Stage
from .recipe import Recipe, learning_rate_factor, to_dict, to_json
from .resume import Begun, begin_run, model_file, next_stage
from .steps import train_step
from .validation import GRID, VALIDATED, validate

FILES = ("recipe.json", "data.json", "log.jsonl", "checkpoints", "samples", "gencomp", ORIGIN)
"""What a run writes in its folder; the last but one is TensorBoard's."""
PRIVATE = 1000  # photographs whose permissions are looked at
CHECK_EVERY = 10  # steps between which several processes ask each other whether to stop or to save


class Stopped(Exception):
    """The run was asked to stop (SIGTERM) and has saved its state; `step` says where."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}; the same command goes on from there")
        self.step = step


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a run is kept and watched; nothing here changes what is trained.

    Intervals in steps, save_minutes in minutes; 0 switches off, and a stage's end is saved always. trackers: as
    Accelerate names them. weights: folder of feature networks. overwrite: whether files under `out` that are not
    of a run may go. told: is called with the step of every line of the log.
    """

    save_every: int = 0
    save_minutes: float = 10.0
    keep: int = 2
    log_every: int = 50
    sample_every: int = 0
    validate_every: int = 0
    validate_on: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    weights: str | None = None
    stream: bool = False
    overwrite: bool = False
    told: Callable[[int], None] | None = None


def run(
    recipe: Recipe, data: list[str], out: Path, *, init: str | Path | None = None, options: RunOptions | None = None
) -> Path:
    """Train to `recipe.steps`, resuming from the newest checkpoint under `out`; returns the last checkpoint.

    data: sources as `data.sources.open_source` takes them. init: a model file or name, or a run, to start from. Raises
    Stopped after SIGTERM, CheckpointError, DataError, WeightsError, or OSError for a disk that cannot be written. A
    run that fails before its first step makes no folder.
    """
    options = options or RunOptions()
    set_seed(recipe.seed)
    # 1x1 weights have two equal layouts; the reducer warns about the one that channels_last gives them
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    recipe = dataclasses.replace(recipe, precision=precision_of(recipe.precision, own_device()))
    accelerator = Accelerator(
        mixed_precision=recipe.precision,
        log_with=list(options.trackers) or None,
        project_dir=str(out) if options.trackers else None,
    )
    torch.backends.cudnn.benchmark = accelerator.device.type == "cuda"  # crops are all of one size
    share_of(recipe, accelerator.num_processes)
    loop = Loop(recipe, data, out, options, accelerator)
    listed = loop.data.source
    read = [listed.name(k) for k in range(min(PRIVATE, len(listed)))] if isinstance(listed, Sources) else []
    with _on_sigterm() as asked, no_more_open_than([*data, *read]):
        loop.start(init)
        while loop.stage.step < recipe.steps:
            loop.train_stage(asked)
    accelerator.end_training()
    return checkpoints(out)[-1]


@contextlib.contextmanager
def _on_sigterm() -> Iterator[list[int]]:
    """A list that is filled when SIGTERM comes; the old handler is put back at the end."""
    asked: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    except ValueError:  # not the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


class Loop:
    """A run on this process: the current stage, its data and its log."""

    stage: Stage
    log: RunLog

    def __init__(
        self, recipe: Recipe, data: list[str], out: Path, options: RunOptions, accelerator: Accelerator
    ) -> None:
        self.recipe, self.out, self.options, self.accelerator = recipe, out, options, accelerator
        self.data = open_data(data, streamed=options.stream)
        self.main, self.device = accelerator.is_main_process, accelerator.device
        self.window, self.watch = Window(self.device), Stopwatch()
        self.unreadable: set[str] = set()
        self.saved_at = time.monotonic()

    def start(self, init: str | Path | None) -> None:
        """The stage at the newest checkpoint, at `init`, or at the beginning; then the folder and the log."""
        begun = begin_run(self.recipe, self.accelerator, self.out, init, self.options.weights, self.data)
        self.stage, self.recipe = begun.stage, begun.stage.recipe
        if begun.saved is not None:
            self.window = Window(self.device, begun.saved.meta.get("window"))
        if self.main:
            inputs = [*self.data.names, *([init] if init is not None and Path(init).is_file() else [])]
            claim(self.out, "train", FILES, inputs, self.options.overwrite, bool(checkpoints(self.out)), tracked=False)
            self._write_facts(begun, init)
        self.accelerator.wait_for_everyone()
        self.log = RunLog(self.out, self.accelerator, list(self.options.trackers), to_dict(self.recipe))
        if begun.saved is not None:
            changed = {"changed": begun.changed} if begun.changed else {}
            self._write({"resumed_from": begun.name} | self._size() | changed)

    def _write_facts(self, begun: Begun, init: str | Path | None) -> None:
        """recipe.json, data.json and the model that the run begins with; what changed since the checkpoint is said."""
        write_atomically(self.out / "recipe.json", to_json(self.recipe).encode())
        named = [str(Path(d).resolve()) if Path(d).exists() else d for d in self.data.names]
        left_out = getattr(self.data.source, "left_out", "")
        facts: dict[str, Any] = {"data": named, "stream": self.options.stream, "left_out": left_out, "earlier": []}
        path, notes = self.out / "data.json", list(begun.notes)
        if begun.saved is not None and path.is_file():
            before = json.loads(path.read_text("utf-8"))
            facts["earlier"] = before.get("earlier", [])
            if before["data"] != named:
                facts["earlier"] = [*facts["earlier"], {"data": before["data"], "to_step": begun.saved.step}]
                begun.changed["data"] = (before["data"], named)
                notes.append(f"changed since {begun.name}: data was {', '.join(before['data'])}, is {', '.join(named)}")
        if left_out:
            notes.append(f"Left out of the photographs: {left_out}")
        write_atomically(path, json.dumps(facts).encode())
        origin = model_file(init) if init is not None and begun.saved is None else None
        if origin is not None and origin.is_file() and origin.parent.name != "checkpoints":
            shutil.copyfile(origin, self.out / ORIGIN)
        for note in notes:
            tqdm.write(shown(note))

    def _write(self, line: dict[str, Any]) -> None:
        self.log.write({"step": self.stage.step, "stage": self.stage.procedure.name} | line)

    def _size(self) -> dict[str, Any]:
        return {"processes": self.accelerator.num_processes, "precision": self.recipe.precision}

    def train_stage(self, asked: list[int]) -> None:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        sampler = StepSampler(self.recipe, self.stage.step, self.stage.end, rank, processes)
        bar = tqdm(total=self.recipe.steps, initial=self.stage.step, disable=not self.main, mininterval=2, unit="step")
        loader = iter(batches(self.data, self.recipe, sampler))
        with bar:
            while self.stage.step < self.stage.end:
                with self.watch.waiting():
                    batch = next(loader)
                for name in set(batch.unreadable) - self.unreadable:
                    self.unreadable.add(name)
                    tqdm.write(f"skipped, not readable as a photograph: {shown(name)}")
                self._collect(train_step(self.stage, batch))
                bar.update()
                self._after_step(bar, *self._requests(asked))
        if self.stage.step < self.recipe.steps:
            self.stage = next_stage(self.stage, self.options.weights, self.data)
            self.recipe, self.window = self.stage.recipe, Window(self.device)
            if self.main:
                write_atomically(self.out / "recipe.json", to_json(self.recipe).encode())

    def _collect(self, metrics: Metrics) -> None:
        """The step's metrics, means over all samples of all processes; they stay on the device."""
        names = list(metrics)
        values = torch.stack([metrics[n].to(self.window.dtype) for n in names])
        values = self.accelerator.reduce(values, "mean")
        self.window.add(names, values)
        self.stage.procedure.after_step(self.stage, dict(zip(names, values)))

    def _requests(self, asked: list[int]) -> tuple[bool, bool]:
        """(stop, save): whether any process was asked to stop, and whether the first finds it time to save; all of them
        give the same answers at the same step."""
        minutes = self.options.save_minutes
        due = bool(minutes) and time.monotonic() - self.saved_at > 60 * minutes
        if self.accelerator.num_processes == 1:
            return bool(asked), due
        if self.stage.step % CHECK_EVERY:
            return False, False
        flags = torch.tensor([len(asked), float(due and self.main)], device=self.accelerator.device)
        stop, save = self.accelerator.reduce(flags, "sum").tolist()
        return stop > 0, save > 0

    def _after_step(self, bar: Any, stopping: bool, due: bool) -> None:
        step, options = self.stage.step, self.options
        if step % options.log_every == 0:
            self._log(bar)
        if stopping or due or step == self.stage.end or (options.save_every and step % options.save_every == 0):
            self._save()
        if options.validate_every and step % options.validate_every == 0 and self.stage.procedure.codes:
            self._validate()
        if options.sample_every and step % options.sample_every == 0 and self.main:
            images = torch.stack(self._fixed_images(GRID)).float() / 255
            path = self.out / "samples" / f"step-{step:08d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(self.stage.procedure.samples(self.stage.players.exported(), images), path)
            self.log.image(path, step)
        if stopping and step < self.recipe.steps:
            self.accelerator.end_training()
            raise Stopped(step)

    def _log(self, bar: Any) -> None:
        steps, means = self.window.count, readable(self.window.means())
        self.window = Window(self.device)
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            saved = checkpoints(self.out)
            where = f"; {saved[-1].name} is from before" if saved else ""
            raise CheckpointError(
                f"{bad[0]} is not a finite number at step {self.stage.step}: lower learning_rate{where}"
            )
        watch, self.watch = self.watch, Stopwatch()
        seconds = max(time.monotonic() - watch.began, 1e-9)
        speed, wait = steps * self.recipe.batch / seconds, watch.waited / seconds
        factor = learning_rate_factor(self.recipe, self.stage.step - 1)
        line: dict[str, Any] = {**means, **self._size(), "d_loss": means.get("d_loss")}
        line |= {"learning_rate": self.stage.players.codec.learning_rate * factor}
        line |= {"images_per_second": speed, "data_wait": wait, "unreadable": len(self.unreadable)}
        line |= {"processor_seconds": time.process_time() - watch.worked, "memory_gib": peak_memory_gib(self.device)}
        self._write(line)
        if self.options.told is not None:
            self.options.told(self.stage.step)
        figures = {k: f"{means[k]:.3g}" for k in ("bpp", "psnr", "g_loss", "d_loss") if k in means}
        bar.set_postfix(figures | {"im/s": f"{speed:.1f}", "wait": f"{100 * wait:.0f}%"})

    def _save(self) -> None:
        """One process writes; the others wait, so that all of them can be killed together."""
        self.accelerator.wait_for_everyone()
        if self.main:
            saved = self.stage.checkpoint()
            meta = {"recipe": to_dict(self.recipe), "window": self.window.state(), **saved.meta}
            save_checkpoint(self.out, saved._replace(meta=meta), self.options.keep)
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()

    def _validate(self) -> None:
        if self.main:
            network = self.stage.players.exported()
            calibration = calibration_latents(network, self.data, CALIBRATION // 2)
            images = [image.permute(1, 2, 0).contiguous().numpy() for image in self._fixed_images(VALIDATED)]
            realism = self.stage.procedure.teaches_realism and network.knows_realism
            done = validate(network, calibration, images, realism=realism)
            on = "held-out photographs" if self.options.validate_on else "training photographs"
            self._write({"validated_on": on} | {f"file_{k}": v for k, v in done._asdict().items()})
        self.accelerator.wait_for_everyone()

    def _fixed_images(self, count: int) -> list[Tensor]:
        """The same crops every time, uint8 [3, H, W], of the photographs to validate on, or of the training ones."""
        named = list(self.options.validate_on)
        data = open_data(named, streamed=False) if named else self.data
        recipe = dataclasses.replace(self.recipe, seed=2**31 - 2, crop=max(256, self.recipe.crop), graphics=0.0)
        return fixed_crops(data, recipe, count)
