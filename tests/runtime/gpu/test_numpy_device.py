"""The fake device's own rules: each assertion fires, and nothing else does."""

import gc
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dmn_runtime.errors import EngineError, GpuMemoryError

FATBIN = b"\x50\xed\x55\xba\x01\x00\x10\x00"


def address(memory: Any) -> np.uint64:
    return np.uint64(memory.address)


@pytest.fixture
def device(numpy_device: Any) -> Any:
    """A device whose kernel "copy" copies the first 4 bytes of argument 0 to argument 1."""

    def copy(grid: object, block: object, arguments: Sequence[Any]) -> None:
        source, target = (numpy_device.memory_at(int(each)) for each in arguments)
        target.data[:4] = source.data[:4]

    def burst(grid: object, block: object, arguments: Sequence[Any]) -> None:
        memory = numpy_device.memory_at(int(arguments[0]))
        start = memory.address - memory.room.ctypes.data
        memory.room[start + memory.nbytes] ^= 0xFF

    numpy_device.kernels = {"copy": copy, "burst": burst, "nothing": lambda *_: None}
    kinds = type(next(iter(numpy_device.touches.values())))
    numpy_device.touches["copy"] = kinds((0,), (1,))
    return numpy_device


def launch(device: Any, stream: Any, name: str, *arguments: Any) -> None:
    stream.launch(device.load(FATBIN).kernel(name), (1, 1, 1), (1, 1, 1), arguments)


def filled(device: Any, value: int, nbytes: int = 8) -> Any:
    host = device.host_memory(nbytes)
    host.data[:] = value
    return host


def test_nothing_is_done_before_it_must(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    stream.upload(host, memory, 8)
    assert (memory.bytes == 0xA5).all()
    stream.synchronise()
    assert (memory.bytes == 3).all()


def test_the_source_of_an_upload_stays_as_it_is(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    stream.upload(host, memory, 4)
    host.data[4:] = 9  # not part of it
    stream.synchronise()
    stream.upload(host, memory, 8)
    host.data[7] = 5
    with pytest.raises(AssertionError, match="changed the source of an upload"):
        stream.synchronise()


def test_the_target_of_a_download_is_rubbish_until_it_is_done(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    stream.upload(host, memory, 8)
    back = filled(device, 3)
    stream.download(memory, back, 4)
    assert back.data.tolist() == [0xA5] * 4 + [3] * 4
    stream.synchronise()
    assert back.data.tolist() == [3] * 8


def test_a_copy_in_the_wrong_direction(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    for call in (lambda: stream.upload(memory, host, 8), lambda: stream.download(host, memory, 8)):
        with pytest.raises(AssertionError, match="on the wrong side"):
            call()


@pytest.mark.parametrize("which", ["host", "device"])
def test_memory_in_use_is_not_given_back(device: Any, which: str) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    stream.upload(host, memory, 8)
    with pytest.raises(AssertionError, match="given back while work is enqueued that uses it: upload"):
        (host if which == "host" else memory).free()


def test_memory_of_a_kernel_in_use_is_not_given_back(device: Any) -> None:
    stream, a, b = device.stream(), device.device_memory(8), device.device_memory(8)
    launch(device, stream, "copy", address(a), address(b))
    with pytest.raises(AssertionError, match="kernel copy"):
        b.free()


def test_memory_is_not_used_after_it_was_given_back(device: Any) -> None:
    stream, host, memory, other = device.stream(), filled(device, 3), *two(device)
    far = address(memory)
    memory.free()
    with pytest.raises(AssertionError, match="given back"):
        stream.upload(host, memory, 8)
    with pytest.raises(AssertionError, match="no memory of the GPU is at"):
        launch(device, stream, "copy", far, address(other))
    host.free()
    with pytest.raises(AssertionError, match="after it was given back"):
        _ = host.data


def two(device: Any) -> tuple[Any, Any]:
    return device.device_memory(8), device.device_memory(8)


def test_a_freed_place_is_not_taken_again_at_once(device: Any) -> None:
    places = set()
    for _ in range(20):
        memory = device.device_memory(512)
        places.add(memory.address)
        memory.free()
    assert len(places) == 20


def test_a_view_kept_of_freed_memory_reads_rubbish(device: Any) -> None:
    host = filled(device, 3)
    view = host.data
    host.free()
    assert (view == 0xA5).all()


def test_an_address_of_the_host_is_none_for_a_kernel(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 3), device.device_memory(8)
    with pytest.raises(AssertionError, match="an address of the host"):
        launch(device, stream, "copy", address(host), address(memory))


def test_a_kernel_that_writes_beside_its_memory(device: Any) -> None:
    stream, memory = device.stream(), device.device_memory(8)
    launch(device, stream, "burst", address(memory))
    with pytest.raises(AssertionError, match="beside the 8 bytes"):
        stream.synchronise()


def clash(device: Any, first: Callable[[Any], None], second: Callable[[Any], None]) -> None:
    one, other = device.stream(), device.stream()
    first(one)
    second(other)
    one.synchronise()
    other.synchronise()


def test_two_streams_on_one_memory(device: Any) -> None:
    a, b = two(device)
    c, host = device.device_memory(8), filled(device, 1)

    def read(stream: Any) -> None:
        launch(device, stream, "copy", address(a), address(b))

    def read_too(stream: Any) -> None:
        launch(device, stream, "copy", address(a), address(c))

    def write(stream: Any) -> None:
        stream.upload(host, a, 8)

    clash(device, read, read_too)  # both read a
    for first, second in ((read, write), (write, read), (write, write), (read, read)):
        with pytest.raises(AssertionError, match="nothing was synchronised between them"):
            clash(device, first, second)
        for stream in device.streams.values():
            stream.synchronise()


def test_a_synchronisation_between_two_streams_is_enough(device: Any) -> None:
    memory, host = device.device_memory(8), filled(device, 1)
    one, other = device.stream(), device.stream()
    one.upload(host, memory, 8)
    one.synchronise()
    other.download(memory, host, 8)
    other.synchronise()
    assert (host.data == 1).all()


def test_progress_by_chance_is_no_synchronisation(device: Any) -> None:
    """Work that happens to be done when another stream was waited for is still unordered."""
    one, other, third = (device.stream() for _ in range(3))
    memory, host = device.device_memory(8), filled(device, 1)
    one.upload(host, memory, 8)
    while one.work:
        other.enqueue(lambda: None)
        other.synchronise()
    with pytest.raises(AssertionError, match="nothing was synchronised"):
        third.download(memory, host, 8)


def order(device: Any, seed: int) -> list[int]:
    device.chance.seed(seed)
    done: list[int] = []
    streams = [device.stream() for _ in range(3)]
    for step in range(4):
        for i, stream in enumerate(streams):
            stream.enqueue(lambda i=i, step=step: done.append(10 * i + step))
    streams[0].synchronise()
    assert [each for each in done if each < 10] == [0, 1, 2, 3]
    for stream in streams:
        stream.synchronise()
    for i in range(3):
        assert [each % 10 for each in done if each // 10 == i] == [0, 1, 2, 3]
    return done


def test_a_seed_chooses_the_order_of_streams(device: Any) -> None:
    orders = [order(device, seed) for seed in range(5)]
    assert orders == [order(device, seed) for seed in range(5)]
    assert len({tuple(each) for each in orders}) > 2


def test_a_graph_keeps_addresses_and_reads_contents_late(device: Any) -> None:
    stream, (a, b), host, back = device.stream(), two(device), filled(device, 1), filled(device, 0)
    module = device.load(FATBIN)
    kernel = module.kernel("copy")
    with stream.capturing() as capture:
        stream.upload(host, a, 4)
        stream.launch(kernel, (1, 1, 1), (1, 1, 1), (address(a), address(b)))
        stream.download(b, back, 4)
    assert not stream.work
    for value in (5, 6):
        host.data[:] = value
        capture.graph.launch(stream)
        assert (back.data[:4] == 0xA5).all()
        stream.synchronise()
        assert (back.data[:4] == value).all()
    capture.graph.launch(stream)
    host.data[0] = 9
    with pytest.raises(AssertionError, match="changed the source"):
        stream.synchronise()


def test_a_graph_of_freed_memory(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 1), device.device_memory(8)
    with stream.capturing() as capture:
        stream.upload(host, memory, 8)
    memory.free()
    with pytest.raises(AssertionError, match="upload is enqueued on memory that was given back"):
        capture.graph.launch(stream)


def test_a_graph_in_use_is_not_given_back(device: Any) -> None:
    stream, host, memory = device.stream(), filled(device, 1), device.device_memory(8)
    with stream.capturing() as capture:
        stream.upload(host, memory, 8)
    capture.graph.launch(stream)
    with pytest.raises(AssertionError, match="while it runs"):
        capture.graph.close()
    stream.synchronise()
    capture.graph.close()
    with pytest.raises(AssertionError, match="launched after it was given back"):
        capture.graph.launch(stream)


FORBIDDEN: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "synchronise": (lambda device, stream, host: stream.synchronise(), "synchronised inside a capture"),
    "synchronise another": (
        lambda device, stream, host: device.stream_before.synchronise(),
        "synchronised inside a capture",
    ),
    "allocate": (lambda device, stream, host: device.device_memory(8), "memory is taken inside"),
    "pin": (lambda device, stream, host: device.host_memory(8), "memory is taken inside"),
    "free": (lambda device, stream, host: host.free(), "memory is given back inside"),
    "stream": (lambda device, stream, host: device.stream(), "a stream is taken inside"),
    "close": (lambda device, stream, host: device.stream_before.close(), "a stream is given back inside"),
    "load": (lambda device, stream, host: device.load(FATBIN), "a module is taken inside"),
    "mark": (lambda device, stream, host: stream.mark(), "a mark inside a capture"),
    "capture": (lambda device, stream, host: stream.capturing().__enter__(), "a capture inside a capture"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_inside_a_capture(device: Any, what: str) -> None:
    device.stream_before, stream, host = device.stream(), device.stream(), filled(device, 1)
    call, told = FORBIDDEN[what]
    with pytest.raises(AssertionError, match=told), stream.capturing():
        call(device, stream, host)
    stream.synchronise()
    host.free()


def test_another_thread_stays_out_of_a_capture(device: Any) -> None:
    stream, host, memory, said = device.stream(), filled(device, 1), device.device_memory(8), []

    def work() -> None:
        device.make_current()
        for call in (lambda: stream.upload(host, memory, 8), stream.synchronise):
            try:
                call()
            except AssertionError as error:
                said.append(str(error))
        device.host_memory(8).free()  # what other threads take does not disturb

    with stream.capturing():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert said == ["another thread enqueues inside a capture", "a capturing stream is synchronised"]


def test_a_device_without_graphs(device: Any) -> None:
    device.has_graphs = False
    with pytest.raises(EngineError, match="no graphs"):
        device.stream().capturing().__enter__()


def test_a_thread_that_did_not_make_it_current(device: Any) -> None:
    said = []

    def work() -> None:
        for call in (device.stream, lambda: device.host_memory(8), device.free_bytes, host.free):
            try:
                call()
            except AssertionError as error:
                said.append(str(error))

    host = filled(device, 1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["this thread did not make the device current"] * 4


def test_memory_is_limited_on_the_device(device: Any) -> None:
    device.most_bytes = 100
    device.host_memory(1000).free()
    memory = device.device_memory(60)
    assert device.free_bytes() == 40
    with pytest.raises(GpuMemoryError, match="no 41 bytes"):
        device.device_memory(41)
    memory.free()
    device.device_memory(100).free()
    assert device.peak_bytes == 100


def test_a_mark_is_read_when_it_was_passed(device: Any) -> None:
    stream = device.stream()
    first, second = stream.mark(), stream.mark()
    with pytest.raises(AssertionError, match="before it was passed"):
        second.seconds_since(first)
    stream.synchronise()
    assert second.seconds_since(first) > 0
    first.close()
    with pytest.raises(AssertionError, match="after it was given back"):
        second.seconds_since(first)


def test_a_stream_is_not_given_back_with_work(device: Any) -> None:
    stream = device.stream()
    stream.enqueue(lambda: None)
    with pytest.raises(AssertionError, match="before its work is known to be done"):
        stream.close()
    stream.synchronise()
    stream.close()
    with pytest.raises(AssertionError, match="a stream is used after"):
        stream.enqueue(lambda: None)


def test_a_module_is_not_used_after_its_end(device: Any) -> None:
    stream, module = device.stream(), device.load(FATBIN)
    kernel = module.kernel("nothing")
    stream.launch(kernel, (1, 1, 1), (1, 1, 1), ())
    with pytest.raises(AssertionError, match="module is given back while"):
        module.close()
    stream.synchronise()
    module.close()
    with pytest.raises(AssertionError, match="after its module"):
        stream.launch(kernel, (1, 1, 1), (1, 1, 1), ())
    with pytest.raises(AssertionError, match="a module that was given back"):
        module.kernel("nothing")


def test_a_kernel_takes_numbers_of_fixed_size(device: Any) -> None:
    with pytest.raises(TypeError, match="fixed size"):
        launch(device, device.stream(), "nothing", 3)


@pytest.mark.parametrize("left", ["device_memory", "host_memory", "stream", "load", "mark", "graph"])
def test_what_was_not_given_back_is_found(device: Any, left: str) -> None:
    stream = device.stream()
    things = {
        "device_memory": lambda: device.device_memory(8),
        "host_memory": lambda: device.host_memory(8),
        "stream": device.stream,
        "load": lambda: device.load(FATBIN),
        "mark": stream.mark,
        "graph": lambda: captured(stream),
    }
    thing = things[left]()
    stream.synchronise()
    stream.close()
    with pytest.raises(AssertionError, match="not given back"):
        device.check_empty()
    (thing.free if hasattr(thing, "free") else thing.close)()
    device.check_empty()


def captured(stream: Any) -> Any:
    with stream.capturing() as capture:
        pass
    return capture.graph


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("device_memory", lambda device: device.device_memory(8)),
        ("host_memory", lambda device: device.host_memory(8)),
        ("stream", lambda device: device.stream()),
        ("load", lambda device: device.load(FATBIN)),
        ("launch", lambda device: launch(device, device.stream(), "nothing")),
        ("mark", lambda device: device.stream().mark()),
        ("capture", lambda device: captured(device.stream())),
        ("instantiate", lambda device: captured(device.stream())),
        ("graph", lambda device: captured(device.stream()).launch(device.stream())),
        ("synchronise", lambda device: device.stream().synchronise()),
    ],
)
def test_a_refusal_that_was_ordered(device: Any, operation: str, call: Callable[[Any], Any]) -> None:
    device.refusals[operation] = [None, GpuMemoryError("as ordered")]
    call(device)
    with pytest.raises(GpuMemoryError, match="as ordered"):
        call(device)
    call(device)


def test_what_fails_on_the_gpu_is_told_to_its_own_stream(device: Any) -> None:
    def fail() -> None:
        raise EngineError("broken")

    one, other = device.stream(), device.stream()
    one.enqueue(fail)
    while one.work:
        other.enqueue(lambda: None)
        other.synchronise()
    with pytest.raises(EngineError, match="broken"):
        one.synchronise()
    one.synchronise()


def test_memory_is_found_while_another_thread_takes_and_gives_back(device: Any) -> None:
    """The collector runs Python amid a loop over the memory; another thread gets its turn then."""
    kept = [device.device_memory(8) for _ in range(64)]
    ready, over = threading.Event(), threading.Event()

    def come_and_go() -> None:
        device.make_current()
        while not over.is_set():
            memory = device.device_memory(8)
            ready.set()
            memory.free()

    def let_others(*_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            over.wait(1e-5)

    thread = threading.Thread(target=come_and_go)
    rare = gc.get_threshold()
    gc.callbacks.append(let_others)
    thread.start()
    try:
        assert ready.wait(10.0)
        gc.set_threshold(1)
        for memory in kept:
            assert device.memory_at(memory.address) is memory
    finally:
        gc.set_threshold(*rare)
        gc.callbacks.remove(let_others)
        over.set()
        thread.join()
