"""The page in a real browser without a window: what a person does with keys and mouse, and the names file after it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.view.made_up_page import Page
from mcdist.gallery.serve import served
from tests.gallery.made_up_page import small_page
from tests.makers.chromium import started_chromium

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.slow

TIMEOUT_MS = 30_000
"""For whatever the page does: a busy machine is no failure."""

HOSTILE_NAME = "<img src=x onerror=document.title='hacked'>"
HOSTILE_PHOTO = "<script>document.title='hacked'</script>.jpg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_chromium() as started:
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return small_page(tmp_path, photo_names=(HOSTILE_PHOTO,))


class Person:
    """Somebody who looks at the page. What the page complains of is in `complaints`."""

    def __init__(self, browser: Any, *, address: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(TIMEOUT_MS)
        self.complaints: list[str] = []
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" and "409" not in message.text else None)
        self.asked: list[str] = []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(address)
        self.ready()

    def ready(self) -> None:
        self.tab.wait_for_selector("body[data-ready]")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def card(self, cluster: int) -> Any:
        return self.tab.locator(f'.card[data-cluster="{cluster}"]')

    def type_name(self, cluster: int, name: str) -> None:
        """On the card, with the keyboard."""
        self.card(cluster).focus()
        self.press("n")
        self.tab.keyboard.type(name)
        self.press("Enter")

    def wait_for_revision(self, revision: int) -> None:
        self.tab.wait_for_selector(f'body[data-revision="{revision}"]')

    def wait_for_text(self, selector: str, text: str) -> None:
        playwright.expect(self.tab.locator(selector).first).to_contain_text(text, timeout=TIMEOUT_MS)


@pytest.fixture
def address(page: Page) -> Iterator[str]:
    with served(page.app) as found:
        yield found


@pytest.fixture
def person(browser: Any, address: str) -> Iterator[Person]:
    somebody = Person(browser, address=address)
    yield somebody
    assert somebody.complaints == []
    assert all(url.startswith(("http://127.0.0.1:", "blob:")) for url in somebody.asked)
    somebody.context.close()


def saved(page: Page) -> dict[str, Any]:
    return json.loads(page.names.path.read_text())


def test_name_merge_split_undo_redo_reload_and_search_with_the_keyboard(person: Person, page: Page):
    person.type_name(0, "cat")
    person.wait_for_revision(1)
    assert saved(page)["names"] == {"0": "cat"}
    focused = person.tab.evaluate("document.activeElement.dataset.cluster")
    assert focused is not None and focused != "0", "the next cluster without a name has the focus"

    person.card(1).focus()
    person.press("m")
    person.wait_for_text("#merging", "Merge cluster 1 into")
    person.card(0).focus()
    person.press("Enter")
    person.wait_for_revision(2)
    assert saved(page)["merged"] == {"1": 0}
    playwright.expect(person.card(1)).to_have_count(0, timeout=TIMEOUT_MS)

    person.card(2).focus()
    person.press("Enter")
    person.tab.wait_for_selector("#objects .cell")
    person.press("s")
    person.tab.wait_for_selector("#split[open]")
    person.press("Enter")
    person.wait_for_revision(3)
    playwright.expect(person.card(6)).to_be_visible(timeout=TIMEOUT_MS)
    assert saved(page)["splits"][0]["into"] == [6, 7]

    person.card(6).focus()
    person.press("u")
    person.wait_for_revision(4)
    assert saved(page)["splits"] == []
    playwright.expect(person.card(2)).to_be_visible(timeout=TIMEOUT_MS)
    person.press("U")
    person.wait_for_revision(5)
    assert saved(page)["splits"][0]["cluster"] == 2

    person.tab.reload()
    person.ready()
    person.wait_for_text('.card[data-cluster="0"] .name', "cat")
    person.wait_for_text('.card[data-cluster="0"] .facts', "in 2 merged")
    person.wait_for_text("#counts", "objects have a name")

    person.card(0).focus()
    person.press("/")
    person.tab.keyboard.type("cat")
    playwright.expect(person.tab.locator(".card")).to_have_count(1, timeout=TIMEOUT_MS)
    person.press("Escape")
    playwright.expect(person.tab.locator(".card")).to_have_count(6, timeout=TIMEOUT_MS)


def test_look_at_a_cluster_select_reject_and_take_back(person: Person, page: Page):
    rows = page.session.objects_of(3)["objects"]
    person.card(3).focus()
    person.press("Enter")
    person.tab.wait_for_selector("#objects .cell img")
    person.press("ArrowRight", "Space", "Shift+ArrowRight", "x")
    person.wait_for_revision(1)
    assert saved(page)["rejected"] == sorted(rows[1:3])
    playwright.expect(person.tab.locator("#objects .cell.rejected")).to_have_count(2, timeout=TIMEOUT_MS)
    person.press("u")
    person.wait_for_revision(2)
    assert saved(page)["rejected"] == []
    person.press("Home", "Enter")
    person.tab.wait_for_selector("#object[open] #near .cell")
    person.wait_for_text("#object dl", "confidence")
    person.press("j")
    person.wait_for_text("#object .aid", "2 of")
    person.press("Escape", "n")
    person.tab.keyboard.type("dog")
    person.press("Enter")
    person.wait_for_text("#cluster-head h1", "dog")
    assert saved(page)["names"] == {"3": "dog"}
    person.press("Escape")
    person.wait_for_text('.card[data-cluster="3"] .name', "dog")


def test_hostile_names_are_text_everywhere(person: Person, page: Page):
    person.type_name(0, HOSTILE_NAME)
    person.wait_for_revision(1)
    person.wait_for_text('.card[data-cluster="0"] .name', HOSTILE_NAME)
    person.press("/")
    person.tab.keyboard.type("script")
    person.tab.locator("#found-grid .cell").first.click()
    person.tab.wait_for_selector("#object[open]")
    person.wait_for_text("#object dl", HOSTILE_PHOTO)
    assert person.tab.evaluate("document.querySelectorAll('main img[src=x], main script, dialog script').length") == 0
    assert person.tab.title() == "made <b>up</b> · mcdist view"
    assert saved(page)["names"] == {"0": HOSTILE_NAME}


def test_of_two_people_who_name_at_once_the_second_is_told_and_can_do_it_again(person: Person, page: Page, browser: Any, address: str):
    other = Person(browser, address=address)
    other.tab.route("**/api/revision", lambda route: route.abort())  # the other one does not hear of it before the own change
    person.type_name(0, "cat")
    person.wait_for_revision(1)
    other.complaints.clear()
    other.type_name(0, "dog")
    other.wait_for_text(".toast.bad", "your change was not made")
    assert saved(page)["names"] == {"0": "cat"}
    assert other.tab.locator('.card[data-cluster="0"] input').input_value() == "dog", "what was typed is still there"
    other.tab.locator(".toast.bad button").first.click()
    other.wait_for_revision(2)
    assert saved(page)["names"] == {"0": "dog"}
    person.wait_for_revision(2)
    person.wait_for_text('.card[data-cluster="0"] .name', "dog")
    other.context.close()


def test_a_dropped_photo_shows_its_segments_and_a_click_its_nearest_objects(person: Person, page: Page):
    file = io.BytesIO()
    Image.new("RGB", (320, 200), "teal").save(file, format="JPEG")
    person.tab.set_input_files("#file", {"name": "<b>mine</b>.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    person.wait_for_text("#photo h1", "<b>mine</b>.jpg")
    person.tab.wait_for_selector("#canvas[data-painted]")
    playwright.expect(person.tab.locator(".segments button")).to_have_count(2, timeout=TIMEOUT_MS)
    person.tab.locator("#canvas").click(position={"x": 20, "y": 20})
    person.tab.wait_for_selector("#photo-grid .cell")
    assert person.tab.locator("#photo-grid .cell").first.get_attribute("data-object") == "0"
    person.tab.locator(".segments button").nth(1).click()
    person.wait_for_text("#photo-near h2", "segment 2")
    person.press("Escape")
    person.tab.wait_for_selector(".card")


def test_the_file_that_is_no_photo_is_said_so(person: Person):
    person.tab.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"nothing"})
    person.wait_for_text(".toast.bad", "no photo that can be read")
    person.complaints[:] = [text for text in person.complaints if "400" not in text]


def test_a_hundred_thousand_objects_scroll_with_few_elements(browser: Any, tmp_path: Path):
    page = small_page(tmp_path, num_objects=100_000, num_clusters=2)
    with served(page.app) as address:
        person = Person(browser, address=address)
        person.card(0).focus()
        person.press("Enter")
        person.tab.wait_for_selector("#objects .cell img")
        person.press("End")
        last = len(page.session.objects_of(0)["objects"]) - 1
        person.tab.wait_for_selector(f'#objects .cell[data-index="{last}"]')
        assert person.tab.locator("#objects .cell").count() < 300
        person.context.close()


def test_the_page_fits_into_400_pixels(browser: Any, address: str):
    person = Person(browser, address=address)
    person.tab.set_viewport_size({"width": 400, "height": 800})
    for step in ("", "Enter", "?"):
        if step:
            person.press(step)
        assert person.tab.evaluate("document.documentElement.scrollWidth") <= 400
    person.context.close()
