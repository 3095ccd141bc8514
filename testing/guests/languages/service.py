"""Tries Python's bindings, and every way to misbehave. In place of the template's own service."""

import struct
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import trials
from wit_world.exports.trials import Point, Shape_Polygon, Values
from wit_world.imports import context, log, operations
from wit_world.imports.tensors import Tensor
from wit_world.imports.types import Dtype

calls = 0


class Steps(trials.Steps):
    def __init__(self, left: int, stop: Optional[int]) -> None:
        self.left = left
        self.stop = stop

    def next(self) -> Optional[int]:
        if self.left == self.stop:
            raise Err(f"no further than {self.stop}")
        if self.left < 0:
            return None
        self.left -= 1
        return self.left + 1


class Trials(exports.Trials):
    def echo(self, values: Values) -> Values:
        return values

    def refuse(self, point: Point) -> int:
        raise Err(Shape_Polygon([point]))

    def fail(self) -> None:
        raise RuntimeError("a failure of its own")

    def spin(self) -> None:
        while True:
            pass

    def grow(self) -> None:
        kept = []
        while True:
            kept.append(b"x" * (1 << 20))

    def recurse(self, depth: int) -> int:
        return 1 + self.recurse(depth + 1)

    def tell(self, letters: int) -> str:
        return "x" * letters

    def down(self, start: int, stop: Optional[int]) -> Steps:
        if start < 0:
            raise Err("`start` is below nought")
        return Steps(start, stop)

    def count(self) -> int:
        global calls
        calls += 1
        return calls

    def say(self, message: str) -> str:
        log.write(log.Level.INFO, message)
        return context.call_id()

    def double(self, values: list[float]) -> list[float]:
        layout = f"<{len(values)}f"
        try:
            once = Tensor.from_bytes(Dtype.F32, [len(values)], struct.pack(layout, *values))
            both = operations.binary(operations.BinaryKind.ADD, once, once)
            return list(struct.unpack(layout, both.read(0, struct.calcsize(layout))))
        except Err as error:
            raise Err(str(error.value)) from error
