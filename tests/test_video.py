from __future__ import annotations

import wave
from pathlib import Path

import av
import clips
import numpy as np
import pytest

from wtal_lib.data.segments import I3D_GRID
from wtal_lib.video import examples
from wtal_lib.video import frames as frames_module
from wtal_lib.video.frames import SUFFIXES, frames, probe, videos_in

REAL = ["v_GGSY1Qvo990", "v_ZNVhz7ctTq0", "video_test_0000946", "video_validation_0000949", "video_validation_0000986"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Six seconds, 150 numbered frames, a keyframe every two seconds."""
    return clips.numbered(tmp_path_factory.mktemp("clips") / "clip.mp4")


def decoded(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """All presentation times and pictures of a file, decoded plainly."""
    with av.open(str(path)) as file:
        pairs = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    return np.array([time for time, _ in pairs]), [image for _, image in pairs]


def middles(duration: float) -> np.ndarray:
    return I3D_GRID.seconds(np.arange(I3D_GRID.count(duration)) + 0.5)


def test_a_video_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path) -> None:
    good, bad = clips.numbered(tmp_path / "good.mp4", 30), tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    infos, broken = examples.probed([bad, good])
    assert list(infos) == ["good"]
    assert "cannot be read as a video" in broken["bad"]
    with pytest.raises(ValueError, match="none of 1 videos can be read"):
        examples.probed([bad])


@pytest.mark.parametrize("name", REAL)
def test_frames_of_real_videos_are_those_shown_at_the_asked_times(shared_data, name) -> None:
    path = shared_data / "videos" / f"{name}.mp4"
    time_f, images = decoded(path)
    dense, sparse = middles(probe(path).duration), np.array([0.0, 0.3, 7.9, 8.0, 13.6])
    for asked in (dense, sparse):
        got = list(frames(path, asked))
        shown = np.searchsorted(time_f, asked, side="right") - 1
        assert [frame.asked for frame in got] == asked.tolist()
        assert np.allclose([frame.time for frame in got], time_f[shown], atol=1e-9)
        assert all(np.array_equal(frame.image, images[i]) for frame, i in zip(got, shown, strict=True))


@pytest.mark.parametrize("name", ["v_GGSY1Qvo990", "video_test_0000946"])
@pytest.mark.parametrize("rate", [15, 25, "variable"])
def test_a_real_video_at_another_rate_gives_the_same_snippets_within_one_frame(
    shared_data, tmp_path, name, rate
) -> None:
    time_f, images = decoded(shared_data / "videos" / f"{name}.mp4")
    time_f, images = time_f[:180], images[:180]
    marked = [clips.stamped(image, i, square=16) for i, image in enumerate(images)]
    if rate == "variable":
        kept = np.sort(np.random.default_rng(0).permutation(len(images))[: len(images) // 2])
        kept = np.union1d(kept, [0, len(images) - 1])
        path = clips.write(
            tmp_path / "v.mp4", (marked[i] for i in kept), np.round(1000 * time_f[kept]).astype(int).tolist()
        )
        gap = np.diff(time_f[kept]).max()
    else:
        kept = np.searchsorted(time_f, np.arange(0, time_f[-1], 1 / rate) + 1e-9, side="right") - 1
        path, gap = clips.write(tmp_path / "v.mp4", (marked[i] for i in kept), rate=rate), np.diff(time_f).max()
    asked = middles(probe(path).duration)
    got = list(frames(path, asked))
    found = time_f[[clips.number(frame.image, square=16) for frame in got]]
    before = time_f[np.searchsorted(time_f, asked, side="right") - 1]
    assert len(got) == len(asked)
    assert (before - found >= -1e-3).all()
    assert (before - found <= max(gap, 1 / 15) + 1e-3).all()


def test_the_frame_at_a_time_is_the_last_one_that_appeared(clip) -> None:
    asked = [0.0, 0.039, 0.04, 0.041, 3.0, 5.96, 5.999]
    got = list(frames(clip, asked))
    assert [clips.number(frame.image) for frame in got] == [0, 0, 1, 1, 75, 149, 149]
    assert list(frames(clip, [6.001, 7.0])) == []
    assert [frame.asked for frame in frames(clip, [5.0, 8.0])] == [5.0]
    assert list(frames(clip, [])) == []


@pytest.mark.parametrize("led_to", [1e9, 4.0])
def test_an_index_that_leads_too_far_costs_time_but_no_frame(clip, monkeypatch, led_to) -> None:
    sought, jump = [], frames_module._jump
    monkeypatch.setattr(frames_module, "_jump", lambda *of: sought.append(of[2]) or jump(*of[:2], of[2] and led_to))
    assert [clips.number(frame.image) for frame in frames(clip, [0.0, 3.0, 5.9])] == [0, 75, 147]
    assert sought == [3.0, 0.0]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "webm", "mov"])
def test_every_container_gives_the_same_numbered_frames(tmp_path, suffix) -> None:
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(suffix, "libx264")
    path = clips.numbered(tmp_path / f"clip.{suffix}", codec=codec, options={"deadline": "realtime", "cpu-used": "8"})
    for asked in (np.arange(9) * 0.64 + 0.33, np.array([0.5, 5.0, 5.5])):
        numbers = [clips.number(frame.image) for frame in frames(path, asked)]
        assert numbers == np.floor(asked * 25 + 1e-6).astype(int).tolist()
    assert probe(path).duration == pytest.approx(6.0, abs=0.05)


@pytest.mark.parametrize(("matrix", "corner"), [((0, 1, -1, 0), "top right"), ((-1, 0, 0, -1), "bottom right")])
def test_pictures_stand_upright(tmp_path, matrix, corner) -> None:
    image = np.full((48, 96, 3), 60, np.uint8)
    image[:16, :16] = 255  # the top left corner
    path = clips.turned(clips.write(tmp_path / "turned.mp4", [image] * 5), matrix)
    (got,) = frames(path, [0.0])
    rows, columns = (slice(-8, None) if "bottom" in corner else slice(8)), slice(-8, None)
    assert got.image[rows, columns].mean() > 200
    assert got.image.shape[:2] == (probe(path).height, probe(path).width) == ((96, 48) if "top" in corner else (48, 96))


def test_odd_sizes_and_a_single_frame_are_read(tmp_path) -> None:
    images = [clips.picture(i, (97, 51)) for i in range(3)]
    odd = clips.write(tmp_path / "odd.mkv", images, codec="ffv1", pixels="bgr0", options={"crf": "0"})
    assert [np.array_equal(f.image, images[i]) for i, f in enumerate(frames(odd, [0.0, 0.04, 0.08]))] == [True] * 3
    one = clips.write(tmp_path / "one.mp4", [clips.picture(7)])
    assert [clips.number(frame.image) for frame in frames(one, [0.0, 0.02, 0.3])] == [7, 7]
    assert probe(one).duration == pytest.approx(0.04)


def test_a_missing_duration_is_counted_and_missing_timestamps_follow_the_rate(tmp_path) -> None:
    class Pipe:
        """A target that cannot be rewound, so that no duration is written."""

        def __init__(self, path: Path) -> None:
            self.file = open(path, "wb")  # noqa: SIM115

        def write(self, part: bytes) -> int:
            return self.file.write(part)

    live = Pipe(tmp_path / "live.mkv")
    clips.write(live, (clips.picture(i) for i in range(100)), format="matroska")
    live.file.close()
    raw = clips.numbered(tmp_path / "raw.h264", frames=100, options={"bf": "0"}, format="h264")
    for path in (tmp_path / "live.mkv", raw):
        assert probe(path).duration == pytest.approx(4.0, abs=0.05)
        assert [clips.number(f.image) for f in frames(path, [0.33, 1.0, 3.9])] == [8, 25, 97]


def test_a_file_cut_in_half_gives_its_frames_until_the_cut(tmp_path) -> None:
    for name in ("a.mp4", "b.mkv", "c.ts"):
        made = clips.numbered(tmp_path / name, container_options={"movflags": "faststart"} if name == "a.mp4" else {})
        content = made.read_bytes()
        made.write_bytes(content[: len(content) // 2])
        got = list(frames(made, np.arange(0.5, 150) / 25))
        assert 20 < len(got) < 140, name
        assert [clips.number(frame.image) for frame in got] == list(range(len(got)))


def test_damage_in_the_middle_costs_the_damaged_part_only(clip, tmp_path) -> None:
    content = bytearray(clips.numbered(tmp_path / "v.mkv", options={"g": "25"}).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "v.mkv").write_bytes(content)
    numbers = np.array([clips.number(frame.image) for frame in frames(tmp_path / "v.mkv", np.arange(0.5, 150) / 25)])
    assert (numbers[:40] == np.arange(40)).all()
    assert (numbers[-40:] == np.arange(110, 150)).all()


def refused(path: Path) -> str:
    """The one message with which both functions refuse a file."""
    with pytest.raises((ValueError, FileNotFoundError)) as one:
        probe(path)
    with pytest.raises(type(one.value)) as other:
        list(frames(path, [0.0]))
    assert str(one.value) == str(other.value)
    return str(one.value)


def test_files_without_a_picture_are_refused_and_the_message_says_why(tmp_path, clip) -> None:
    content = clip.read_bytes()
    files = {
        "text.mp4": b"this is no video\n" * 50,
        "empty.mp4": b"",
        "headless.mp4": content[: len(content) // 2],  # its index stood at the end
        "strange.mp4": content.replace(b"avc1", b"zzz9"),
        "list.mp4": b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
    }
    start = content.index(b"mdat") + 4
    files["scrambled.mp4"] = (
        content[:start] + b"\xa5" * (content.index(b"moov") - 4 - start) + content[content.index(b"moov") - 4 :]
    )
    for name, written in files.items():
        (tmp_path / name).write_bytes(written)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    for name in ("text.mp4", "empty.mp4", "headless.mp4", "list.mp4"):
        assert "cannot be read as a video" in refused(tmp_path / name), name
    assert "has no video stream, only audio" in refused(tmp_path / "sound.wav")
    assert "cannot decode" in refused(tmp_path / "strange.mp4")
    assert "not one frame of it can be decoded" in refused(tmp_path / "scrambled.mp4")
    assert refused(tmp_path / "none.mp4") == f"no such video file: {tmp_path / 'none.mp4'}"
    assert "expected a video file, got the folder" in refused(tmp_path)


def test_times_must_be_ascending_numbers(clip) -> None:
    for times in ([2.0, 1.0], [np.nan]):
        with pytest.raises(ValueError, match="times must be finite seconds in ascending order"):
            frames(clip, times)


def test_a_folder_stands_for_its_videos_and_an_empty_one_is_refused(tmp_path) -> None:
    for name in ("b.mp4", "a.MKV", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "none").mkdir()
    assert [path.name for path in videos_in([tmp_path, tmp_path / "notes.txt"])] == ["a.MKV", "b.mp4", "notes.txt"]
    with pytest.raises(FileNotFoundError, match="expected videos in"):
        videos_in([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="no such video file or folder"):
        videos_in([tmp_path / "absent.mp4"])
    assert ".mp4" in SUFFIXES
