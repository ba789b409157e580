from __future__ import annotations

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.balancer.requestlog import RequestLog, parse, quantile, split_frames

LINE = "1795227861.578 200 web-3 0 12 1 205 218 -- 0 3 GET /work"


def frame(text: str) -> bytes:
    return f"{len(text.encode())} {text}".encode()


def test_a_line_is_read():
    record = parse(LINE)
    assert record.at_s == 1795227861.578
    assert (record.status, record.server) == (200, "web-3")
    assert (record.queue_ms, record.connect_ms, record.answer_ms, record.total_ms) == (
        12,
        1,
        205,
        218,
    )
    assert (record.ended, record.retries, record.method, record.path) == ("--", "0", "GET", "/work")


def test_a_request_that_reached_no_server_is_read():
    record = parse("1.5 503 <NOSRV> 0 5001 -1 -1 5001 sQ-- 0 0 GET /a path with blanks")
    assert (record.status, record.server, record.connect_ms) == (503, "<NOSRV>", -1)
    assert record.path == "/a path with blanks"


@pytest.mark.parametrize("line", ["", "what is this", LINE.replace("218", "x"), LINE[:30]])
def test_what_is_no_record_is_an_error(line):
    with pytest.raises(ValueError):
        parse(line)


@given(st.lists(st.text(max_size=30)), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(texts, data):
    stream = b"".join(frame(text) for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found, rest = [], b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        messages, rest = split_frames(rest + stream[start:end])
        found += messages
    assert [message.decode() for message in found] == texts
    assert rest == b""


def test_bytes_that_are_no_frames_are_an_error():
    with pytest.raises(ValueError):
        split_frames(b"hello world ")


def test_quantiles_are_those_of_the_nearest_rank():
    times = list(range(1, 101))
    assert quantile(times, 0.5) == 50
    assert quantile(times, 0.95) == 95
    assert quantile(times, 0.99) == 99
    assert quantile([7], 0.99) == 7


def wait_for(log, count):
    until = time.monotonic() + 5
    while len(log.recent()) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_records_are_received_bad_lines_are_counted_and_a_sender_may_come_back(tmp_path):
    log = RequestLog(tmp_path / "log.sock", window_s=60)
    try:
        for number in range(2):
            with socket.socket(socket.AF_UNIX) as sender:
                sender.connect(str(tmp_path / "log.sock"))
                sender.sendall(frame(LINE) + frame("rubbish") + frame(LINE))
            wait_for(log, 2 * number + 2)
        assert log.bad_lines == 2
        assert log.recent()[0] == parse(LINE)
    finally:
        log.close()
    assert not (tmp_path / "log.sock").exists()


def test_a_sender_of_something_else_is_dropped_and_the_next_one_heard(tmp_path):
    log = RequestLog(tmp_path / "log.sock", window_s=60)
    try:
        for text in (b"hello world ", frame(LINE)):
            with socket.socket(socket.AF_UNIX) as sender:
                sender.connect(str(tmp_path / "log.sock"))
                sender.sendall(text)
        wait_for(log, 1)
    finally:
        log.close()


def test_old_records_are_forgotten(tmp_path):
    log = RequestLog(tmp_path / "log.sock", window_s=0.05)
    try:
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(str(tmp_path / "log.sock"))
            sender.sendall(frame(LINE))
        wait_for(log, 1)
        time.sleep(0.1)
        assert log.recent() == []
    finally:
        log.close()


def test_only_its_owner_can_write_to_the_socket(tmp_path):
    log = RequestLog(tmp_path / "log.sock", window_s=1)
    assert (tmp_path / "log.sock").stat().st_mode & 0o777 == 0o600
    log.close()
