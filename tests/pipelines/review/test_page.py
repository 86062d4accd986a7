"""pipelines.review.page: one page that a person can read, in a real browser, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from pipelines import params
from pipelines.command import PipelineError
from pipelines.review import judgement, pictures
from pipelines.review.page import render
from pipelines.training.dataset import Dataset
from pipelines.training.evaluate import evaluate
from tests.conftest import DEMONSTRATION, need, quick
from tests.pipelines.review import models
from tests.pipelines.review.test_report import review as example

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    need("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in CHROMIUM:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "artifacts"
    shutil.copytree(trained, folder)
    evaluate(Dataset(folder / "dataset"), folder, quick(params.load(DEMONSTRATION / "params.yaml")))
    return folder


def open_page(browser: webdriver.Chrome, path: Path, text: str) -> None:
    path.write_text(text)
    browser.get(path.as_uri())


@pytest.mark.parametrize("width", [1200, 400])
def test_a_person_sees_it_all(browser: webdriver.Chrome, evaluated: Path, tmp_path: Path, width: int) -> None:
    """On a desk and on a telephone: numbers, pictures and tables are there, none broken, nothing sticks out."""
    browser.set_window_size(width, 900)
    open_page(browser, tmp_path / "index.html", render(evaluated))
    accuracy = msgspec.json.decode((evaluated / "metrics.json").read_bytes())["quantized"]["accuracy"]
    text = browser.find_element(By.TAG_NAME, "body").text
    assert f"{accuracy:.2%}" in text
    for heading in ("Against simpler models", "Under corrupted input", "Mistakes", "Confusion", "Calibration", "Data"):
        assert heading in text
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) == 4
    assert all(picture.get_property("naturalWidth") > 100 for picture in pictures)
    assert all(picture.get_attribute("alt") for picture in pictures)
    bars = browser.find_elements(By.CSS_SELECTOR, ".bar span")
    assert len({bar.size["width"] for bar in bars}) > 2
    inside = browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert inside, "the page is wider than the window"


@pytest.mark.parametrize("width", [1200, 400])
def test_a_review_opens_with_its_verdict(  # noqa: PLR0913, PLR0917 (two models, a browser)
    browser: webdriver.Chrome,
    before: Path,
    beginner: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    """A worse model is red: every rule with its interval, the pictures that flipped, both models side by side."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden.yaml").write_text("[]")
    candidate, old = models.candidate(beginner), models.incumbent(before)
    judged = models.judge(beginner, before)
    flips, counts = judgement.flips(candidate, judged)
    review = msgspec.structs.replace(example([]), findings=judged.findings, flips=flips, flipped=counts)
    assert judged.answers
    pictures.draw(tmp_path / "pictures", candidate.dataset, flips, old, judged.answers.outcomes)
    browser.set_window_size(width, 900)
    open_page(browser, tmp_path / "index.html", render(beginner, review, tmp_path / "pictures"))
    text = browser.find_element(By.TAG_NAME, "body").text
    assert text.index("FAIL") < text.index("same answer as float32")
    assert "is blocked" in text
    assert f"Examples that flipped: {counts[1]} broken" in text
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 7
    assert all(image.get_property("naturalWidth") > 100 for image in images)
    spans = browser.find_elements(By.CSS_SELECTOR, ".forest i")
    assert len(spans) > 20
    cell = browser.find_element(By.CSS_SELECTOR, "tr.fail .forest")
    dot = cell.find_element(By.TAG_NAME, "u")
    assert dot.location["x"] < cell.location["x"] + cell.size["width"] / 3 + 5, "a loss is on the red ground"
    inside = browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert inside, "the page is wider than the window"


def test_it_asks_no_network_and_logs_no_error(browser: webdriver.Chrome, evaluated: Path, tmp_path: Path) -> None:
    """Every request that the page makes is for itself or for what it holds."""
    open_page(browser, tmp_path / "index.html", render(evaluated))
    assert browser.get_log("browser") == []
    messages = [msgspec.json.decode(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("data:", "file:")) for url in asked)


def test_labels_are_text_not_markup(browser: webdriver.Chrome, evaluated: Path, tmp_path: Path) -> None:
    """A label that looks like HTML is shown as it is written."""
    folder = tmp_path / "artifacts"
    shutil.copytree(evaluated, folder)
    label = "<img src=x onerror=alert(1)>"
    for path in (folder / "metrics.json", folder / "dataset" / "schema.json"):
        path.write_text(path.read_text().replace('"3"', f'"{label}"'))
    open_page(browser, tmp_path / "index.html", render(folder))
    assert label in browser.find_element(By.TAG_NAME, "body").text
    assert len(browser.find_elements(By.TAG_NAME, "img")) == 4


def test_parts_that_are_missing_are_named(evaluated: Path, tmp_path: Path) -> None:
    """Without metrics, or with damaged ones, the error says which command makes them."""
    folder = tmp_path / "artifacts"
    shutil.copytree(evaluated, folder)
    (folder / "metrics.json").write_text("{")
    with pytest.raises(PipelineError, match=r"metrics\.json is damaged, run `make repro`"):
        render(folder)
    (folder / "metrics.json").unlink()
    with pytest.raises(PipelineError, match=r"metrics\.json is missing: run `make repro`"):
        render(folder)
