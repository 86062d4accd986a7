"""The page, in a real browser: draw, drop, read the classes and the release."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from model.inputs import Pixels
from model.predictor import Probabilities
from tests.conftest import need, wait_for
from tests.serving.conftest import Server


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    need("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "window-size=900,700"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def test_the_page_shows_what_the_model_says(
    server: Server, browser: webdriver.Chrome, tmp_path: Path, images: Pixels, answers: Probabilities
) -> None:
    """For a drawing and for a file; a file that is no picture gets its reason; nothing violates the page's policy."""
    browser.get(server.url)
    classes = browser.find_element(By.ID, "classes")
    field = browser.find_element(By.ID, "field")
    drag = ActionChains(browser).move_to_element_with_offset(field, 0, -80).click_and_hold()
    drag.move_by_offset(0, 80).move_by_offset(0, 80).release().perform()
    wait_for(lambda: len(classes.find_elements(By.TAG_NAME, "li")) == 10, "the classes of the drawing", 10)
    assert re.match(r"Release dev-\w+, \d+ ms", browser.find_element(By.ID, "release").text)

    path = tmp_path / "picture.png"
    Image.fromarray(images[0, ..., 0]).save(path)
    upload = browser.find_element(By.ID, "file")
    upload.send_keys(str(path))
    best = str(answers[0].argmax())
    percent = f"{100 * answers[0].max():.1f}%"
    wait_for(lambda: classes.text.split()[:2] == [best, percent], "the classes of the picture", 10)

    path.write_bytes(b"x")
    browser.find_element(By.ID, "clear").click()
    upload.send_keys(str(path.rename(tmp_path / "other.png")))
    error = browser.find_element(By.ID, "error")
    wait_for(lambda: "not a PNG or JPEG" in error.text, "the reason", 10)
    assert not [line for line in browser.get_log("browser") if "Content Security Policy" in line["message"]]
