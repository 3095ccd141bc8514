"""Prints cases of every tensor operation as JSON: what goes in, and what NumPy makes of it in f64.

Inputs are seeded and lie on grids that their element types hold exactly. Attributes are numbers in the
order of the interface; lists follow their length. Needs NumPy.
"""

import base64
import json
import math

import numpy as np

RNG = np.random.default_rng(20261122)
ELEMENTS = ["f32", "f16", "bf16", "i64", "i32", "i8", "u8", "boolean"]
TYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "i8": "i1", "u8": "u1", "boolean": "u1"}
CASES = []


def array(element, values):
    values = np.asarray(values)
    if element == "bf16":
        data = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
    else:
        data = values.astype(TYPES[element])
    return {"element": element, "shape": list(values.shape), "data": base64.b64encode(data.tobytes()).decode()}


def case(op, attributes, inputs, *expected):
    """Operands are (element, values); so are results."""
    results = [
        {"element": element, "shape": list(np.shape(values)), "values": np.asarray(values, "f8").ravel().tolist()}
        for element, values in expected
    ]
    attributes = [float(value) for value in attributes]
    CASES.append({"op": op, "attributes": attributes, "inputs": [array(*it) for it in inputs], "expected": results})


def grid(*shape):
    return RNG.integers(-48, 49, shape) / 16.0


def ints(low, high, *shape):
    return RNG.integers(low, high, shape)


def listed(values):
    return [len(values), *values]


erf = np.vectorize(math.erf)
sigmoid = lambda x: 1 / (1 + np.exp(-x))
gelu = lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))
gelu_tanh = lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
ACTIVATIONS = [lambda x: np.maximum(x, 0), gelu, gelu_tanh, lambda x: x * sigmoid(x), sigmoid, np.tanh]


def sources():
    shape = [3, 4]
    case("full", [0, *listed(shape), 0, 1.5], [], ("f32", np.full(shape, 1.5)))
    case("full", [3, *listed(shape), 1, -7], [], ("i64", np.full(shape, -7)))
    case("iota", [4, *listed(shape), -1, 1, 5, 1, 2], [], ("i32", np.tile(5 + 2 * np.arange(4), (3, 1))))
    case("iota", [0, *listed(shape), 0, 0, 0.5, 0, 0.25], [], ("f32", np.tile(0.5 + 0.25 * np.arange(3), (4, 1)).T))


def elementwise():
    x = grid(3, 5)
    positive = np.abs(x) + 0.25
    floats = {
        "neg": -x, "abs": np.abs(x), "sign": np.sign(x), "exp": np.exp(x), "tanh": np.tanh(x),
        "sigmoid": sigmoid(x), "relu": np.maximum(x, 0), "gelu": gelu(x), "gelu-tanh": gelu_tanh(x),
        "silu": x * sigmoid(x), "erf": erf(x), "floor": np.floor(x), "ceil": np.ceil(x),
        "round": np.round(x), "sin": np.sin(x), "cos": np.cos(x),
    }
    for element in ["f32", "f16", "bf16"]:
        for op, want in floats.items():
            case(op, [], [(element, x)], (element, want))
        more = {"ln": np.log(positive), "sqrt": np.sqrt(positive), "rsqrt": positive**-0.5, "reciprocal": 1 / positive}
        for op, want in more.items():
            case(op, [], [(element, positive)], (element, want))
    flags = ints(0, 2, 3, 5)
    case("not", [], [("boolean", flags)], ("boolean", 1 - flags))
    case("not", [], [("i32", flags * 5)], ("i32", ~(flags * 5)))
    y = grid(5) + 4
    pairs = {
        "add": x + y, "sub": x - y, "mul": x * y, "div": x / y, "rem": np.fmod(x, y),
        "min": np.minimum(x, y), "max": np.maximum(x, y),
    }
    for op, want in pairs.items():
        case(op, [], [("f32", x), ("f32", y)], ("f32", want))
    case("pow", [], [("f32", positive), ("f32", y)], ("f32", positive**y))
    a, b = ints(-9, 10, 4, 1), ints(1, 7, 3)
    quotient = np.trunc(a / b)
    whole = {"add": a + b, "mul": a * b, "div": quotient, "rem": a - b * quotient, "and": a & b, "or": a | b, "xor": a ^ b}
    for op, want in whole.items():
        case(op, [], [("i64", a), ("i64", b)], ("i64", want))
    small = np.round(x)
    compared = {
        "equal": small == 0.0 * y, "not-equal": small != 0.0 * y, "less": small < 0.0 * y,
        "less-equal": small <= 0.0 * y, "greater": small > 0.0 * y, "greater-equal": small >= 0.0 * y,
    }
    for op, want in compared.items():
        case(op, [], [("f32", small), ("f32", 0.0 * y)], ("boolean", want))
    case("select", [], [("boolean", flags), ("f32", x), ("f32", y)], ("f32", np.where(flags, x, y)))
    for to, want in [(4, np.trunc(x)), (7, x != 0), (2, x)]:
        case("cast", [to], [("f32", x)], (ELEMENTS[to], want))


def linear():
    a, b, bias = grid(2, 1, 4, 3), grid(5, 3, 6), grid(6)
    case("matmul", [0, 0, -1], [("f32", a), ("f32", b)], ("f32", a @ b))
    for activation, apply in enumerate(ACTIVATIONS):
        turned = [("f32", a.swapaxes(-1, -2)), ("f32", b.swapaxes(-1, -2)), ("f32", bias)]
        case("matmul", [1, 1, activation], turned, ("f32", apply(a @ b + bias)))
    case("matmul", [0, 0, -1], [("f16", a), ("f16", b)], ("f16", a @ b))
    bytes_ = ints(-128, 128, 4, 3), ints(0, 256, 3, 5)
    case("matmul", [0, 0, -1], [("i8", bytes_[0]), ("u8", bytes_[1])], ("i32", bytes_[0] @ bytes_[1]))
    q, k, v = grid(2, 4, 3, 8), grid(2, 2, 5, 8), grid(2, 2, 5, 6)
    for causal in [0, 1]:
        want = attention(q, k, v, causal, np.zeros((3, 5)), 1 / math.sqrt(8))
        case("attention", [causal, 0], [("f32", q), ("f32", k), ("f32", v)], ("f32", want))
    mask = grid(3, 5)
    want = attention(q, k, v, 0, mask, 0.5)
    case("attention", [0, 1, 0.5], [("f32", q), ("f32", k), ("f32", v), ("f32", mask)], ("f32", want))
    x, places = grid(2, 3, 8), np.array([0, 4, 9])
    for interleaved in [0, 1]:
        case("rope", [6, 10000, interleaved], [("f32", x), ("i64", places)], ("f32", rope(x, places, 6, interleaved)))


def attention(q, k, v, causal, mask, scale):
    k, v = (np.repeat(it, q.shape[1] // it.shape[1], axis=1) for it in (k, v))
    scores = q @ k.swapaxes(-1, -2) * scale + mask
    if causal:
        rows, columns = np.arange(q.shape[2])[:, None], np.arange(k.shape[2])
        scores = np.where(columns <= rows + k.shape[2] - q.shape[2], scores, -np.inf)
    return softmax(scores) @ v


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def rope(x, places, dimensions, interleaved):
    half = dimensions // 2
    angle = places[:, None] * 10000.0 ** (-2 * np.arange(half) / dimensions)
    out = x.copy()
    first, second = (slice(0, dimensions, 2), slice(1, dimensions, 2)) if interleaved else (slice(0, half), slice(half, dimensions))
    a, b = x[..., first], x[..., second]
    out[..., first] = a * np.cos(angle) - b * np.sin(angle)
    out[..., second] = a * np.sin(angle) + b * np.cos(angle)
    return out


def windows(x, kernel, steps):
    """Windows over the last two axes: [.., oh, ow, kh, kw]; steps are (stride, dilation, before, after)."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(step[2], step[3]) for step in steps], constant_values=np.nan)
    reach = [(extent - 1) * step[1] + 1 for extent, step in zip(kernel, steps)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(-2, -1))
    return seen[..., :: steps[0][0], :: steps[1][0], :: steps[0][1], :: steps[1][1]]


def conv(x, weight, steps, groups):
    seen = np.nan_to_num(windows(x, weight.shape[2:], steps))
    parts = zip(np.split(seen, groups, axis=1), np.split(weight, groups, axis=0))
    return np.concatenate([np.einsum("nchwij,ocij->nohw", part, own) for part, own in parts], axis=1)


def windowed():
    x, weight, bias = grid(2, 4, 7, 6), grid(6, 2, 3, 2), grid(6)
    steps = [(2, 1, 1, 0), (1, 2, 0, 1)]
    flat = [value for step in steps for value in step]
    want = conv(x, weight, steps, 2)
    case("conv2d", [*flat, 2, -1], [("f32", x), ("f32", weight)], ("f32", want))
    want = np.maximum(want + bias[:, None, None], 0)
    case("conv2d", [*flat, 2, 0], [("f32", x), ("f32", weight), ("f32", bias)], ("f32", want))
    row, taps = grid(1, 3, 9), grid(4, 3, 3)
    want = conv(row[:, :, None], taps[:, :, None], [(1, 1, 0, 0), (2, 1, 1, 1)], 1)[:, :, 0]
    case("conv1d", [2, 1, 1, 1, 1, -1], [("f32", row), ("f32", taps)], ("f32", want))
    seen = windows(x, (3, 2), steps)
    kinds = [np.nanmax(seen, (-2, -1)), np.nanmean(seen, (-2, -1)), np.nan_to_num(seen).mean((-2, -1))]
    for kind, want in enumerate(kinds):
        case("pool2d", [kind, 3, 2, *flat], [("f32", x)], ("f32", want))
    want = windows(row[:, :, None], (1, 3), [(1, 1, 0, 0), (2, 1, 1, 1)])[:, :, 0]
    case("pool1d", [0, 3, 2, 1, 1, 1], [("f32", row)], ("f32", np.nanmax(want, (-2, -1))))


def normal():
    x, scale, bias = grid(3, 4, 5), grid(5), grid(5)
    case("softmax", [1], [("f32", x)], ("f32", softmax(x, 1)))
    case("softmax", [-1], [("bf16", x)], ("bf16", softmax(x)))
    case("log-softmax", [-1], [("f32", x)], ("f32", np.log(softmax(x))))
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    want = (x - mean) / np.sqrt(variance + 1e-5)
    case("layer-norm", [1, 1e-5], [("f32", x)], ("f32", want))
    case("layer-norm", [1, 1e-5], [("f32", x), ("f32", scale), ("f32", bias)], ("f32", want * scale + bias))
    both = (-2, -1)
    want = x / np.sqrt((x * x).mean(both, keepdims=True) + 0.25)
    case("rms-norm", [2, 0.25], [("f32", x)], ("f32", want))
    reduced = [np.sum, np.mean, np.max, np.min, np.prod]
    for kind, reduce in enumerate(reduced):
        case("reduce", [kind, 1, *listed([-1, 0]), 1], [("f32", x)], ("f32", reduce(x, (0, 2), keepdims=True)))
        case("reduce", [kind, 0], [("f32", x)], ("f32", reduce(x)))
    whole = ints(-9, 9, 3, 2)
    case("reduce", [0, 1, *listed([0]), 0], [("i32", whole)], ("i32", whole.sum(0)))
    case("arg-max", [-1, 0], [("f32", x)], ("i64", x.argmax(-1)))
    case("arg-min", [0, 1], [("f32", x)], ("i64", x.argmin(0)[None]))
    order = np.argsort(-x, axis=1, kind="stable")[:, :2]
    case("top-k", [1, 2, 1], [("f32", x)], ("f32", np.take_along_axis(x, order, 1)), ("i64", order))
    order = np.argsort(x, axis=-1, kind="stable")[..., :3]
    case("top-k", [-1, 3, 0], [("f32", x)], ("f32", np.take_along_axis(x, order, -1)), ("i64", order))
    case("cumulative-sum", [1, 0, 0], [("f32", x)], ("f32", x.cumsum(1)))
    case("cumulative-sum", [1, 1, 1], [("f32", x)], ("f32", np.flip(np.flip(x, 1).cumsum(1), 1) - x))


def quantised():
    x, scale, zero = grid(3, 4), np.array([0.25, 0.5, 0.125]), np.array([3, -2, 0])
    want = np.clip(np.round(x / scale[:, None]) + zero[:, None], -128, 127)
    operands = [("f32", scale), ("i8", zero)]
    case("quantise", [1, 0], [("f32", x), *operands], ("i8", want))
    back = (want - zero[:, None]) * scale[:, None]
    case("dequantise", [0, 1, -2], [("i8", want), *operands], ("f32", back))


def indexed():
    x, places = grid(4, 3, 2), np.array([[1, -1], [0, 2]])
    case("gather", [1], [("f32", x), ("i64", places)], ("f32", np.take(x, places, 1)))
    places = ints(0, 4, 2, 3, 2)
    case("gather-elements", [0], [("f32", x), ("i32", places)], ("f32", np.take_along_axis(x, places, 0)))
    joined = [None, np.add, np.multiply, np.minimum, np.maximum]
    for combine, ufunc in enumerate(joined):
        rows, updates = np.array([2, 0, 2]), grid(3, 3, 2)
        want = x.copy()
        if ufunc is None:
            for row, update in zip(rows, updates):
                want[row] = update
        else:
            ufunc.at(want, rows, updates)
        case("scatter", [0, combine], [("f32", x), ("i64", rows), ("f32", updates)], ("f32", want))
        updates, want = grid(2, 3, 2), x.copy()
        for at in np.ndindex(places.shape):
            into = (places[at], *at[1:])
            want[into] = updates[at] if ufunc is None else ufunc(want[into], updates[at])
        case("scatter-elements", [0, combine], [("f32", x), ("i32", places), ("f32", updates)], ("f32", want))


def layout():
    x = grid(4, 3, 5)
    ranges = [(3, 0, 1, -1), (-2, 9, 1, 1), (1, 0, 0, 2)]
    flat = [value for part in ranges for value in part]
    case("slice", [3, *flat], [("f32", x)], ("f32", x[3:0:-1, -2:9, 1::2]))
    case("reshape", listed([6, 10]), [("f16", x)], ("f16", x.reshape(6, 10)))
    case("transpose", listed([-1, 0, 1]), [("f32", x)], ("f32", x.transpose(2, 0, 1)))
    y = grid(4, 2, 5)
    case("concatenate", [-2], [("f32", x), ("f32", y), ("f32", x)], ("f32", np.concatenate([x, y, x], 1)))
    pairs = [(1, 2), (2, 0), (0, 3)]
    flat = [value for pair in pairs for value in pair]
    for mode, name in enumerate(["constant", "edge", "reflect"]):
        extra = {"constant_values": 7.5} if mode == 0 else {}
        case("pad", [3, *flat, mode, 0, 7.5], [("f32", x)], ("f32", np.pad(x, pairs, name, **extra)))
    row = grid(3, 1)
    case("broadcast-to", listed([2, 3, 4]), [("f32", row)], ("f32", np.broadcast_to(row, (2, 3, 4))))


for part in [sources, elementwise, linear, windowed, normal, quantised, indexed, layout]:
    part()
print(json.dumps(CASES))
