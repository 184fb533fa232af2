"""MLflow's UI in a real browser: what ``curl`` and MLflow's client never see.

Screenshots go to ``$TRACKSTACK_SCREENSHOTS``, else to the test's own folder.
"""

import contextlib
import json
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import ExampleRun, StackFactory
from tests.live.stacks import Stack

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.xdist_group("stack")]

MODEL = "digits-classifier"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MILLISECONDS = 30_000
# MLflow's UI asks who is signed in; a server without authentication has no such address.
NOBODY_SIGNED_IN = (404, "GET", "/ajax-api/2.0/mlflow/users/current")
# Chromium's word for a chart that is measured twice in one frame; MLflow's charts are.
DRAWN_TWICE = "ResizeObserver loop completed with undelivered notifications."


def chromium() -> str:
    """Path of the browser; skips without one, unless one is required."""
    found = next(
        (path for name in ("/usr/bin/chromium", "chromium") if (path := shutil.which(name))), None
    )
    if found is None:
        reason = "no Chromium: `apt-get install chromium` brings it"
        if os.environ.get("TRACKSTACK_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass
class Visit:
    """A page, and everything that the network and the console said about it."""

    page: Any
    uri: str
    screenshots: Path
    responses: list[tuple[int, str, str]] = field(default_factory=list)
    """Status, method and URL of every answer."""
    errors: list[str] = field(default_factory=list)
    """Console errors, exceptions of the page and requests without an answer."""

    def open(self, path: str, text: str) -> None:
        """Go to a page of the UI and wait until a text is to be seen."""
        self.page.goto(f"{self.uri}/#{path}")
        self.see(text)

    def see(self, text: str) -> None:
        """Wait until a text is to be seen."""
        # Not by locator: highlighted text is a span for each word.
        self.page.wait_for_function(
            "text => document.body.innerText.includes(text)", arg=text, timeout=WAIT_MILLISECONDS
        )

    def shoot(self, name: str) -> None:
        """Take a screenshot for people."""
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def assert_clean(self) -> None:
        """No answer of 400 or above, nothing refused, no error on the console."""
        own = [one for one in self.responses if one[2].startswith(self.uri)]
        assert own, "the page asked nothing of the server"
        status, method, path = NOBODY_SIGNED_IN
        known = (status, method, self.uri + path)
        assert [one for one in self.responses if one[0] >= 400 and one != known] == []
        unknown = [line for line in self.errors if not line.endswith(f" {self.uri}{path}")]
        assert [line for line in unknown if DRAWN_TWICE not in line] == []


@contextlib.contextmanager
def visiting(uri: str, screenshots: Path, **context: Any) -> Iterator[Visit]:
    """A browser window of its own, without cache or cookies."""
    program = chromium()
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    screenshots.mkdir(parents=True, exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), headless=True
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900}, **context)
        visit = Visit(page, uri, screenshots)
        page.on(
            "response",
            lambda one: visit.responses.append((one.status, one.request.method, one.url)),
        )
        page.on("pageerror", lambda error: visit.errors.append(f"exception: {error}"))
        page.on(
            "console",
            lambda line: (
                visit.errors.append(f"{line.text} {line.location['url']}")
                if line.type == "error"
                else None
            ),
        )
        page.on("requestfailed", lambda one: _failed(visit, one))
        yield visit
        browser.close()


def _failed(visit: Visit, request: Any) -> None:
    # The page itself gives up requests that it no longer needs when it goes elsewhere.
    if request.failure != "net::ERR_ABORTED":
        visit.errors.append(f"{request.failure}: {request.method} {request.url}")


@pytest.fixture
def visit(dev_stack: Stack, tmp_path: Path) -> Iterator[Visit]:
    folder = Path(os.environ.get("TRACKSTACK_SCREENSHOTS") or tmp_path / "screenshots")
    with visiting(dev_stack.uri, folder) as found:
        yield found


def test_the_experiment_list_shows_the_example(visit: Visit, example_run: ExampleRun) -> None:
    visit.open("/experiments", "digits")
    visit.shoot("1-experiments")
    visit.open(f"/experiments/{example_run.experiment_id}/runs", "Run Name")
    visit.see(MODEL)
    visit.shoot("2-runs")
    visit.assert_clean()


def test_the_run_page_shows_parameters_and_metrics(visit: Visit, example_run: ExampleRun) -> None:
    visit.open(f"/experiments/{example_run.experiment_id}/runs/{example_run.run_id}", "Parameters")
    for text in ("learning_rate", "log_loss", "test_accuracy", "train_loss", "training_images"):
        visit.see(text)
    visit.shoot("3-run")
    visit.assert_clean()


def test_the_curves_are_drawn(visit: Visit, example_run: ExampleRun) -> None:
    run = f"/experiments/{example_run.experiment_id}/runs/{example_run.run_id}"
    visit.open(f"{run}/model-metrics", "test_accuracy")
    visit.page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for(
        state="attached", timeout=WAIT_MILLISECONDS
    )
    visit.shoot("4-curves")
    visit.assert_clean()


def test_the_artifact_view_renders_the_figure(visit: Visit, example_run: ExampleRun) -> None:
    run = f"/experiments/{example_run.experiment_id}/runs/{example_run.run_id}"
    visit.open(f"{run}/artifacts/figures/confusion_matrix.png", "confusion_matrix.png")
    visit.page.wait_for_function(
        "[...document.images].some(image => image.naturalWidth >= 500)", timeout=WAIT_MILLISECONDS
    )
    visit.shoot("5-figure")
    visit.assert_clean()


def test_the_models_own_artifact_view_shows_its_description(
    visit: Visit, dev_stack: Stack, example_run: ExampleRun
) -> None:
    version = dev_stack.call(f"model-versions/get?name={MODEL}&version=1")["model_version"]
    model = version["source"].removeprefix("models:/")
    visit.open(f"/experiments/{example_run.experiment_id}/models/{model}/artifacts", "MLmodel")
    visit.page.get_by_text("MLmodel", exact=True).first.click()
    visit.see("loader_module: mlflow.sklearn")
    visit.shoot("6-mlmodel")
    visit.assert_clean()


def test_the_registered_model_has_its_version(visit: Visit, example_run: ExampleRun) -> None:
    visit.open("/models", MODEL)
    visit.shoot("7-models")
    visit.open(f"/models/{MODEL}", "Version 1")
    visit.shoot("8-registered-model")
    visit.assert_clean()


def set_tag(visit: Visit, run_id: str) -> int:
    """Write as the page does, a same-origin POST; its status."""
    status: int = visit.page.evaluate(
        """async body => (await fetch("ajax-api/2.0/mlflow/runs/set-tag", {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify(body),
        })).status""",
        {"run_id": run_id, "key": "reviewed", "value": "in a browser"},
    )
    return status


def test_the_page_may_write(visit: Visit, dev_stack: Stack, example_run: ExampleRun) -> None:
    visit.open(f"/experiments/{example_run.experiment_id}/runs", MODEL)
    assert set_tag(visit, example_run.run_id) == 200
    tags = dev_stack.call(f"runs/get?run_id={example_run.run_id}")["run"]["data"]["tags"]
    assert {"key": "reviewed", "value": "in a browser"} in tags
    own = [one for one in visit.responses if one[1] == "POST" and "set-tag" not in one[2]]
    assert own  # the UI's search for runs is a POST, too
    visit.assert_clean()


def test_the_page_may_write_over_tls(stack_factory: StackFactory, tmp_path: Path) -> None:
    """With the checks on: MLflow lets every origin on loopback in, but no other.

    So a wrong CORS setting shows on AWS only; that it is the platform's own URL is for the tests
    of the component to hold.
    """
    chromium()  # before a whole stack is started for nothing
    stack = stack_factory(name="prod")
    stack.up()
    context = ssl.create_default_context(cadata=stack.outputs["tracking_certificate"])
    request = urllib.request.Request(
        f"{stack.uri}/api/2.0/mlflow/runs/create",
        data=b'{"experiment_id": "0"}',
        headers={"Content-Type": "application/json", **stack.credentials},
    )
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        run_id = json.load(answer)["run"]["info"]["run_id"]
    request.add_header("Origin", "https://elsewhere.example")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, context=context, timeout=30)
    # Chromium takes authorities from a store of the user's, which no test touches.
    signed_in = {"ignore_https_errors": True, "extra_http_headers": stack.credentials}
    with visiting(stack.uri, tmp_path, **signed_in) as visit:
        visit.open("/experiments", "Default")
        assert set_tag(visit, run_id) == 200
        visit.assert_clean()
    stack.delete()
