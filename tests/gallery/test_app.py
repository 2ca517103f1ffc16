"""Routes: what the page asks for, and what is refused."""

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from benchmarks.view.made_up_page import Page
from mcdist.gallery.guard import JSON_BYTES_MAX, Guard
from tests.gallery.made_up_page import small_page

testclient = pytest.importorskip("starlette.testclient", reason="the extra `view` and httpx2 are not installed")

PORT, TOKEN = 8420, "token-of-the-test"
HOST = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return small_page(tmp_path)


def client_of(page: Page, *, host: str = HOST, signed_in: bool = True) -> Any:
    client = testclient.TestClient(Guard(page.app, token=TOKEN, port=PORT), base_url=host, raise_server_exceptions=False, headers={"origin": HOST})
    if signed_in:
        assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


@pytest.fixture
def client(page: Page) -> Iterator[Any]:
    yield client_of(page)


def change(client: Any, **wanted: object) -> dict:
    answer = client.post("/api/change", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def photo_bytes(kind: str = "JPEG", size: tuple[int, int] = (90, 60)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "olive").save(file, format=kind)
    return file.getvalue()


def test_the_state_has_every_cluster_and_the_counts(client, page):
    state = client.get("/api/state").json()
    assert [card["id"] for card in state["clusters"]] == list(range(6))
    assert sum(card["num"] for card in state["clusters"]) == 60
    assert state["counts"] == {"objects": 60, "named": 0, "rejected": 0, "photos": 30, "photos_done": 0}
    first = state["clusters"][0]
    assert len(first["examples"]) == min(8, first["num"])
    assert {int(page.made.catalogue.objects.cluster[row]) for row in first["examples"]} == {0}


def test_naming_counts_objects_and_the_photos_that_are_labelled_completely(client, page):
    state: dict[str, Any] = {"revision": 0}
    for cluster in range(6):
        state = change(client, do="name", cluster=cluster, name=f"class {cluster % 2}", revision=state["revision"])
    assert state["counts"]["named"] == 60 and state["counts"]["photos_done"] == 30
    assert state["classes"] == ["class 0", "class 1"]
    assert state["undo"] == "name cluster 5 “class 1”"
    assert json.loads(page.names.path.read_text())["names"]["5"] == "class 1"
    state = change(client, do="undo", revision=state["revision"])
    assert state["counts"]["named"] < 60 and state["redo"] == "name cluster 5 “class 1”"


def test_merge_split_separate_reject_and_restore_change_the_cards(client):
    merged = change(client, do="merge", cluster=1, into=0, revision=0)
    assert [card["members"] for card in merged["clusters"]] == [[0, 1], [2], [3], [4], [5]]
    apart = change(client, do="separate", cluster=0, revision=1)
    assert len(apart["clusters"]) == 6
    size = apart["clusters"][2]["num"]
    split = change(client, do="split", cluster=2, parts=3, revision=2)
    parts = {card["id"]: card["num"] for card in split["clusters"] if card["id"] > 5}
    assert list(parts) == [6, 7, 8] and sum(parts.values()) == size and min(parts.values()) > 0
    rows = client.get("/api/clusters/6").json()["objects"]
    rejected = change(client, do="reject", objects=rows[:2], revision=3)
    assert next(card for card in rejected["clusters"] if card["id"] == 6)["rejected"] == 2
    assert rejected["counts"]["rejected"] == 2
    assert client.get("/api/clusters/6").json()["rejected"] == [0, 1]
    assert change(client, do="restore", objects=rows[:2], revision=4)["counts"]["rejected"] == 0


def test_a_split_is_the_same_every_time(client, tmp_path):
    change(client, do="split", cluster=2, parts=2, revision=0)
    first = client.get("/api/clusters/6").json()["objects"]
    change(client, do="undo", revision=1)
    change(client, do="split", cluster=2, parts=2, revision=2)
    assert client.get("/api/clusters/6").json()["objects"] == first


def test_the_second_of_two_people_is_told_and_gets_the_newer_state(page):
    one, other = client_of(page), client_of(page)
    change(one, do="name", cluster=0, name="cat", revision=0)
    answer = other.post("/api/change", json={"do": "name", "cluster": 0, "name": "dog", "revision": 0})
    assert answer.status_code == 409
    assert "saved since the names that you see" in answer.json()["error"]
    assert answer.json()["state"]["clusters"][0]["name"] == "cat"
    assert change(other, do="name", cluster=0, name="dog", revision=1)["clusters"][0]["name"] == "dog"


def test_what_another_process_saved_is_seen(client, page):
    assert client.get("/api/revision").json() == {"revision": 0}
    page.names.change(lambda names: names.name(3, "cow"), revision=0)
    assert client.get("/api/state").json()["clusters"][3]["name"] == "cow"


def test_a_damaged_names_file_is_said_in_one_sentence_and_left_alone(client, page):
    page.names.path.write_text("{")
    answer = client.get("/api/state")
    assert answer.status_code == 400 and "is damaged" in answer.json()["error"]
    assert client.post("/api/change", json={"do": "name", "cluster": 0, "name": "cat", "revision": 0}).status_code == 400
    assert page.names.path.read_text() == "{"


def test_objects_have_pictures_and_nearest_objects(client, page):
    about = client.get("/api/objects/7").json()
    similarities = [one["similarity"] for one in about["near"]]
    assert similarities == sorted(similarities, reverse=True) and 7 not in [one["object"] for one in about["near"]]
    assert about["photo"] == "photo_000003" and about["cluster"] == int(page.made.catalogue.objects.cluster[7])
    for path in ("/pictures/objects/7", "/pictures/photos/7", "/pictures/mosaics/7-8-9", "/pictures/mosaics/0-1-2-3-4-5-6-7"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "image/jpeg" and "immutable" in answer.headers["cache-control"]
        Image.open(io.BytesIO(answer.content)).load()


def test_photos_are_found_by_their_name(client):
    assert client.get("/api/find", params={"text": "PHOTO_000003"}).json() == {"objects": [6, 7]}
    assert client.get("/api/find", params={"text": ""}).status_code == 422


def test_a_dropped_photo_has_named_segments_and_what_is_nearest_to_a_click(client, page):
    change(client, do="name", cluster=int(page.made.catalogue.objects.cluster[0]), name="cat", revision=0)
    about = client.post("/api/photos", content=photo_bytes()).json()
    assert [segment["number"] for segment in about["segments"]] == [1, 2]
    assert about["segments"][0]["name"] == "cat" and about["segments"][0]["box"] == [0.0, 0.0, 0.5, 0.8]
    key = about["key"]
    assert client.get(f"/api/photos/{key}/near", params={"x": 0.1, "y": 0.1}).json()["near"][0]["object"] == 0
    assert client.get(f"/api/photos/{key}/near", params={"number": 2}).json()["near"][0]["object"] == 1
    outside = client.get(f"/api/photos/{key}/near", params={"x": 0.5, "y": 0.95}).json()
    assert (outside["number"], outside["near"][0]["object"]) == (0, 2)
    answer = client.get(f"/api/photos/{key}/near", params={"x": 1.5, "y": 0.1})
    assert answer.status_code == 400 and "outside the photo" in answer.json()["error"]
    assert "no segment 9" in client.get(f"/api/photos/{key}/near", params={"number": 9}).json()["error"]
    shown = numpy.array(Image.open(io.BytesIO(client.get(f"/pictures/maps/{key}").content)))
    assert shown.shape == (480, 720) and set(numpy.unique(shown)) == {0, 1, 2}
    assert client.get(f"/pictures/dropped/{key}").status_code == 200


def test_only_the_latest_photos_are_remembered(client):
    keys = [client.post("/api/photos", content=photo_bytes()).json()["key"] for _ in range(9)]
    assert "drop it again" in client.get(f"/api/photos/{keys[0]}").json()["error"]
    assert client.get(f"/api/photos/{keys[-1]}").status_code == 200


@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0 half", photo_bytes("GIF"), photo_bytes("PNG")[:60]])
def test_a_file_that_is_no_photo_is_refused_with_one_sentence(client, content):
    answer = client.post("/api/photos", content=content)
    assert answer.status_code == 400 and "no photo that can be read" in answer.json()["error"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"do": "delete", "revision": 0},
        {"do": "name", "revision": 0},
        {"do": "name", "revision": 0, "cluster": 0},
        {"do": "name", "revision": 0, "cluster": "0", "name": "cat"},
        {"do": "name", "revision": 0, "cluster": -1, "name": "cat"},
        {"do": "name", "revision": 0, "cluster": 99, "name": "cat"},
        {"do": "name", "revision": 0, "cluster": 0, "name": "a\u0000"},
        {"do": "name", "revision": 0, "cluster": 0, "name": "x" * 400},
        {"do": "name", "revision": 0, "cluster": 0, "name": "cat", "path": "/etc/passwd"},
        {"do": "merge", "revision": 0, "cluster": 0},
        {"do": "merge", "revision": 0, "cluster": 0, "into": 0},
        {"do": "split", "revision": 0, "cluster": 0, "parts": 1},
        {"do": "split", "revision": 0, "cluster": 0, "parts": 1000},
        {"do": "reject", "revision": 0, "objects": [60]},
        {"do": "reject", "revision": 0, "objects": []},
        {"do": "undo", "revision": 0},
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_one_sentence(client, page, wanted):
    answer = client.post("/api/change", json=wanted)
    assert answer.status_code in (400, 422) and answer.json()["error"]
    assert not page.names.path.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/../setup.cfg",
        "/..%2f..%2fetc/passwd",
        "/api/objects/60",
        "/api/objects/-1",
        "/pictures/objects/x",
        "/pictures/mosaics/1-60",
        "/pictures/mosaics/1-2-3-4-5-6-7-8-9",
        "/pictures/mosaics/1%2f..%2f2",
        "/docs",
        "/openapi.json",
        "/names.json",
        "/main.py",
    ],
)
def test_no_path_leads_anywhere_else(client, path):
    assert client.get(path).status_code in (404, 422)


def test_names_of_photos_that_are_no_text_can_be_sent(tmp_path):
    client = client_of(small_page(tmp_path, photo_names=("caf\udce9.jpg", "<script>alert(1)</script>")))
    assert client.get("/api/objects/0").json()["photo"] == "caf\udce9.jpg"


def test_without_the_token_nothing_is_answered(page):
    client = client_of(page, signed_in=False)
    for path in ("/", "/api/state", "/main.js", "/pictures/objects/0", "/?token=wrong", "/?token=", "/?token=%ff"):
        answer = client.get(path)
        assert answer.status_code == 401 and "mcdist view printed" in answer.text
    assert client.post("/api/change", json={}).status_code == 401


def test_the_token_becomes_a_cookie_that_other_sites_cannot_use(page):
    client = client_of(page, signed_in=False)
    answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Strict" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
        {"host": f"127.0.0.1:{PORT + 1}"},
        {"host": f"127.0.0.1.evil.example:{PORT}"},
    ],
)
def test_requests_of_other_sites_are_refused(client, page, headers):
    answer = client.post("/api/change", json={"do": "name", "cluster": 0, "name": "evil", "revision": 0}, headers=headers)
    assert answer.status_code == 403
    assert not page.names.path.exists()


def test_a_change_without_an_origin_is_refused(page):
    client = client_of(page)
    del client.headers["origin"]
    assert client.post("/api/change", json={"do": "name", "cluster": 0, "name": "x", "revision": 0}).status_code == 403
    assert client.get("/api/state").status_code == 200


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/main.js", "/api/state", "/nowhere", "/pictures/objects/0"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store" or path.startswith("/pictures")


def test_what_is_too_long_is_refused_whether_it_says_so_or_not(client):
    long = b"[" + b"1," * (JSON_BYTES_MAX // 2) + b"1]"
    assert client.post("/api/change", content=long, headers={"content-type": "application/json"}).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(6):
            yield bytes(2**20)

    answer = client.post("/api/change", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413)


def test_the_page_refers_to_nothing_outside_and_every_file_is_served(client):
    import re
    from importlib.resources import files

    for file in files("mcdist.gallery").joinpath("page").iterdir():
        text = file.read_text()
        assert not re.search(
            r"""(?:https?:)?//(?!www\.w3\.org)[a-z0-9-]+\.[a-z]|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function""", text
        ), file.name
        path = "/" if file.name == "index.html" else f"/{file.name}"
        assert client.get(path).text == text


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="starlette|fastapi|httpx2")
        yield
