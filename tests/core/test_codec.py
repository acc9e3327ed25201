"""Values to bytes and back: what travels, what travels apart, and what the errors name."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core import codec
from hubnet.core.flags import Flag
from hubnet.errors import NO, YES, DecodeError, EncodeError

numpy = pytest.importorskip("numpy")

LARGE = codec.LARGE
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)  # fmt: skip


def there_and_back(value):
    data, buffers = codec.encode(value)
    return codec.decode(data, [memoryview(bytearray(buffer)) for buffer in buffers])


@given(PLAIN)
def test_plain_data_comes_back_equal(value):
    assert there_and_back(value) == value
    assert codec.decode(codec.in_one_piece(value)) == value


@given(st.lists(PLAIN, max_size=4).map(tuple), st.dictionaries(st.text(max_size=8), PLAIN, max_size=3))
def test_arguments_come_back_equal(args, kwargs):
    data, buffers = codec.encode_arguments(args, kwargs)
    assert codec.decode(data, buffers) == (args, kwargs)


def test_large_bytes_and_arrays_travel_beside_the_pickle_and_keep_their_type():
    array = numpy.arange(100_000, dtype="f4").reshape(100, 1000)
    args = (b"a" * LARGE, array, memoryview(b"view" * LARGE))
    data, buffers = codec.encode_arguments(args, {"key": b"b" * LARGE})
    assert len(data) < 1000
    assert len(buffers) == 4
    back, kwargs = codec.decode(data, [memoryview(bytearray(buffer)) for buffer in buffers])
    assert [type(value) for value in back] == [bytes, numpy.ndarray, memoryview]
    assert back[0] == args[0]
    assert (back[1] == array).all()
    assert back[2] == b"view" * LARGE
    assert kwargs == {"key": b"b" * LARGE}
    assert type(kwargs["key"]) is bytes


def test_small_arrays_and_memoryviews_stay_in_the_pickle():
    args = (memoryview(b"view"), memoryview(bytearray(3)), *(numpy.full(3, number) for number in range(10_000)))
    data, buffers = codec.encode_arguments(args, {})
    assert buffers == []
    (view, writable, *arrays), _ = codec.decode(data)
    assert (bytes(view), view.readonly, writable.readonly) == (b"view", True, False)
    assert [array.tolist() for array in arrays] == [[number] * 3 for number in range(10_000)]
    assert all(array.flags.writeable for array in arrays)


@pytest.mark.parametrize("values", ["view", "view, view[1:]", "view, threading.Lock()", "view[:9], Here()"])
def test_the_collector_may_find_a_memoryview_that_was_an_argument(values):
    code = f"""
        import gc, threading
        from hubnet.core import codec
        class Here: pass
        def keeps():
            view = memoryview(bytearray({LARGE} * 3))
            try:
                made = codec.encode_arguments(({values},), {{"again": view}})
            except Exception as error:
                again = error  # it holds this frame, which holds it
            kept = [view]
            kept += [locals(), kept]
        for _ in range(20):
            keeps()
            gc.collect()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_large_bytearray_that_is_referred_to_twice_arrives_as_one():
    shared = bytearray(LARGE)
    data, buffers = codec.encode_arguments((shared, [shared]), {})
    (first, (second,)), _ = codec.decode(data, buffers)
    assert first is second
    assert first == shared


def test_bytearrays_come_back_as_bytearrays():
    assert type(there_and_back([bytearray(LARGE)])[0]) is bytearray


def test_buffers_are_the_senders_own_memory():
    array = numpy.zeros(1 << 16, numpy.uint8)
    _, buffers = codec.encode(array)
    array[7] = 9
    assert buffers[0][7] == 9


def test_received_arrays_can_be_written_to():
    array = there_and_back(numpy.zeros(10))
    array[0] = 1
    assert array[0] == 1


def test_small_bytes_stay_in_the_pickle():
    assert codec.encode(b"x" * (LARGE - 1))[1] == []
    assert len(codec.encode(b"x" * LARGE)[1]) == 1


def test_functions_defined_on_the_spot_travel_by_value():
    factor = 3
    assert there_and_back(lambda value: value * factor)(4) == 12


def test_what_main_defines_travels_by_value(monkeypatch):
    main = ModuleType("__main__")
    exec("class Shot:\n    def __init__(self, number):\n        self.number = number\n", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    data, _ = codec.encode(main.Shot(12))
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert codec.decode(data).number == 12


class Unwilling:
    def __reduce__(self):
        raise OSError("I stay here")


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [((1, Unwilling()), {}, "argument 1"), ((), {"shot": Unwilling()}, "argument 'shot'"),
     ((b"x" * LARGE, Unwilling()), {}, "argument 1"), (([{"deep": Unwilling()}],), {}, "argument 0")],
)  # fmt: skip
def test_the_argument_that_cannot_travel_is_named(args, kwargs, named):
    with pytest.raises(EncodeError, match=named) as caught:
        codec.encode_arguments(args, kwargs)
    assert "I stay here" in str(caught.value)
    assert caught.value.ran == NO


@pytest.mark.parametrize("encode", [codec.encode, codec.in_one_piece])
def test_a_value_that_cannot_travel_is_an_encode_error(encode):
    with pytest.raises(EncodeError, match="Unwilling"):
        encode(Unwilling())


def test_one_piece_holds_everything():
    value = (numpy.arange(10), b"x" * LARGE, bytearray(LARGE))
    array, large, writable = codec.decode(codec.in_one_piece(value))
    assert (array == value[0]).all()
    assert (large, writable) == value[1:]
    assert codec.decode(codec.in_one_piece(b"y" * LARGE)) == b"y" * LARGE


def test_one_piece_takes_functions_beside_arrays():
    array, function = codec.decode(codec.in_one_piece((numpy.arange(10), lambda: 7)))
    assert function() == 7
    assert len(array) == 10


def test_one_piece_takes_what_main_defines_beside_arrays_by_value(monkeypatch):
    main = ModuleType("__main__")
    exec("class Shot:\n    pass\n", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    shot = main.Shot()
    shot.pixels = numpy.zeros(4)
    data = codec.in_one_piece(shot)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert len(codec.decode(data).pixels) == 4


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps(1)[:-1], b"cno_such_module\nThing\n."])
@pytest.mark.parametrize("ran", [NO, YES])
def test_what_cannot_be_rebuilt_is_a_decode_error_that_says_whether_it_ran(data, ran):
    with pytest.raises(DecodeError) as caught:
        codec.decode(data, ran=ran)
    assert caught.value.ran == ran


def test_missing_buffers_are_a_decode_error():
    data, _ = codec.encode(numpy.zeros(LARGE))
    with pytest.raises(DecodeError):
        codec.decode(data)


def test_an_exception_travels_only_when_it_survives_the_round_trip():
    class NeedsTwo(Exception):
        def __init__(self, first, second):
            super().__init__(first)

    assert isinstance(codec.decode(codec.travels(ValueError("x"))), ValueError)
    assert codec.travels(NeedsTwo(1, 2)) is None
    assert codec.travels(Unwilling()) is None


def test_a_flag_keeps_its_name():
    assert there_and_back(Flag("LATER")) == Flag("LATER")
