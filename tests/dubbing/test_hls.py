"""What playlists say."""

from octavia_stream.captions.cues import Cue
from octavia_stream.dubbing.hls import Choice, MediaPlaylist, PictureFacts, master_playlist, subtitle_segment
from octavia_stream.languages import Language

SOUNDS = [
    Choice("dub.m3u8", Language("pt"), "Portuguese (dubbed)"),
    Choice("original.m3u8", Language("en"), "English (original)"),
]


def test_a_growing_list_has_no_end_and_is_watched_from_its_beginning() -> None:
    playlist = MediaPlaylist("dub", "m4s", "dub-init.mp4")
    assert playlist.append(4.0) == "dub-00001.m4s"
    assert playlist.append(3.5) == "dub-00002.m4s"
    assert playlist.text().splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        '#EXT-X-MAP:URI="dub-init.mp4"',
        "#EXTINF:4.000000,",
        "dub-00001.m4s",
        "#EXTINF:3.500000,",
        "dub-00002.m4s",
    ]
    assert playlist.text(ended=True) == playlist.text() + "#EXT-X-ENDLIST\n"
    assert playlist.length_s == 7.5


def test_the_dub_is_the_default_sound() -> None:
    picture = PictureFacts("picture.m3u8", 1280, 720, 2_000_000, "avc1.64001f")
    lines = master_playlist(SOUNDS, SOUNDS[:1], picture, channels=2, base="3/").splitlines()
    assert [line for line in lines if "DEFAULT=YES" in line] == [
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",LANGUAGE="pt",NAME="Portuguese (dubbed)",'
        'DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="3/dub.m3u8"'
    ]
    assert lines[-2:] == [
        '#EXT-X-STREAM-INF:BANDWIDTH=2000000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,'
        'AUDIO="sound",SUBTITLES="text"',
        "3/picture.m3u8",
    ]


def test_without_a_picture_the_dub_itself_is_what_is_played() -> None:
    lines = master_playlist(SOUNDS, [], None, channels=1, base="1/").splitlines()
    assert lines[-1] == "1/dub.m3u8"
    assert sum("1/dub.m3u8" in line for line in lines) == 1


def test_a_segment_of_subtitles_says_where_its_clock_begins() -> None:
    assert subtitle_segment([Cue(1.5, 2.0, "a < b")]) == (
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n00:00:01.500 --> 00:00:02.000\na &lt; b\n"
    )
    assert subtitle_segment([]) == "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
