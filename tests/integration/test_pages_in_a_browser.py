"""The dashboard in a browser: what people see of each fate, what they can do, and with which keys."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import pytest

from core.jobs.deliveries import DeliveryStore
from core.jobs.delivery_views import Delivery, DeliveryState
from core.jobs.outgoing import Outcome
from core.jobs.states import State
from core.jobs.views import Failure
from core.progress import Progress
from tests.chrome import Chrome, Page, chrome
from tests.report_inputs import report_for, sink_arrays
from tests.served import NOW, Served, served

HOOK: Final = {"webhook": {"url": "https://hooks.example.com/a?token=b", "events": ["failed"]}}
FAILURE: Final = Failure(
    code="out-of-memory",
    message="The device has no more memory.",
    remedy="Lower `calibration.samples`.",
    log=("block 3 of 32", f"<b>no markup</b> {'x' * 300}"),
)
REPORTS: Final = {
    "report/report.json": report_for(
        sink_arrays("drifting", samples=2, timesteps=4, layers=2, positions=64)
    )
    .model_dump_json()
    .encode()
}
LABELS: Final = """[...document.querySelectorAll('.narrow text.label')].map((text) => {
  const box = text.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})"""
REFUSES_POSTS: Final = """
window.asked = window.fetch;
window.fetch = (url, how) => how?.method === "POST"
  ? Promise.resolve(new Response('{"detail": "Not now."}', {status: 409})) : window.asked(url, how);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chrome(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keyed")) as running:
        yield running


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def failed(server: Served) -> str:
    """A job with a webhook that failed in its second attempt."""
    job_id = server.submit(**HOOK)
    server.jobs.requeue(job_id, server.claim(job_id), "killed", later(70), max_attempts=3)
    server.jobs.fail(job_id, server.claim(job_id), FAILURE, later(90))
    return job_id


def refused(server: Served, job_id: str) -> Delivery:
    """The job's one message, after a try that was answered 500."""
    deliveries = DeliveryStore.open(f"sqlite:///{server.folder}/jobs.db")
    [delivery] = deliveries.of_job("default", job_id).data
    parcel = deliveries.claim(delivery.id, later(90), timedelta(days=2), timedelta(seconds=60))
    assert parcel is not None
    outcome = Outcome(DeliveryState.FAILED, later(90), later(90), 0.2, 500, "it answered 500")
    deliveries.report(parcel, outcome)
    return delivery


def signed_in(browser: Chrome, server: Served, key: str, path: str) -> Page:
    """A page that was reached as people do: it sends them to log in, where they type and press Enter."""
    page = browser.page()
    page.open(f"{server.url}{path}")
    page.until("document.readyState === 'complete' && document.activeElement.id === 'key'")
    page.type(key)
    page.press("Enter")
    page.until(f"location.pathname === {path!r} && document.querySelector('.who')")
    return page


class TestAJob:
    def test_a_failure_says_why_what_to_do_and_what_came_last(
        self, browser: Chrome, server: Served
    ) -> None:
        page = browser.page()
        page.open(f"{server.url}/jobs/{failed(server)}")
        shown = page.text("#failure:not([hidden])")
        assert "The device has no more memory." in shown
        assert "What to do: Lower calibration.samples." in shown
        assert page.text("#failure p code") == "calibration.samples"
        assert page.text("#failure pre").startswith("block 3 of 32\n<b>no markup</b>")
        page.eval("document.querySelector('#failure pre').focus()")
        assert page.eval("document.activeElement.className") == "log"  # and the keyboard scrolls it
        rows = page.eval("[...document.querySelectorAll('#attempts tr')].map((r) => r.innerText)")
        assert [row.split("\t")[-2:] for row in rows] == [
            ["died", "killed"], ["out-of-memory", "The device has no more memory."],
        ]  # fmt: skip
        assert page.text("#said") == "The job is failed."

    def test_its_messages_are_listed_and_sent_again(self, browser: Chrome, server: Served) -> None:
        job_id = failed(server)
        delivery = refused(server, job_id)
        page = browser.page()
        page.open(f"{server.url}/jobs/{job_id}")
        [event, state, tries, answer, *_] = page.text("#webhook:not([hidden]) tbody tr").split("\t")
        assert (event, state, tries) == ("job.failed", "failed", "1")
        assert answer.startswith("it answered 500 · ")
        assert page.text("#receiver") == "hooks.example.com"
        button = "document.querySelector('#deliveries button')"
        assert page.eval(f"{button}.ariaLabel") == f"Send again: job.failed, {delivery.id}"
        page.eval(f"{button}.focus()")
        page.press("Enter")
        page.until("document.querySelector('#deliveries .pending')")
        assert page.text(f"#next-{delivery.id}") == "due"
        assert page.until(f"{button}.textContent") == "Send now"
        assert page.eval(f"document.activeElement === {button}")

    def test_one_that_tells_nobody_shows_no_messages(self, browser: Chrome, server: Served) -> None:
        page = browser.page()
        unasked = {"webhook": {**HOOK["webhook"], "events": ["succeeded"]}}
        page.open(f"{server.url}/jobs/{server.failed(**unasked)}")
        page.until(
            "performance.getEntriesByType('resource').some((e) => e.name.includes('/deliveries'))"
        )
        page.eval("new Promise((done) => setTimeout(done, 500))")  # until it would be drawn
        assert page.eval("document.querySelector('#webhook').hidden")

    def test_it_can_be_retried(self, browser: Chrome, server: Served) -> None:
        job_id = failed(server)
        page = browser.page()
        page.open(f"{server.url}/jobs/{job_id}")
        page.until("document.querySelector('#job button')?.textContent === 'Retry'")
        page.eval("document.querySelector('#job button').click()")
        page.until("document.querySelector('#job .state.queued')")
        assert server.jobs.get("default", job_id).state is State.QUEUED
        assert page.eval("document.querySelector('#failure').hidden")

    def test_a_button_keeps_the_focus_while_the_job_moves(
        self, browser: Chrome, server: Served
    ) -> None:
        job_id = server.submit()
        epoch = server.claim(job_id)
        page = browser.page()
        page.open(f"{server.url}/jobs/{job_id}")
        page.until("document.querySelector('#job button')")
        page.eval("document.querySelector('#job button').focus()")
        server.jobs.progress(job_id, epoch, Progress("pruning", 0.7, "block 7 of 10"), NOW, 6.0)
        page.until("document.querySelector('#job').innerText.includes('block 7 of 10')")
        assert page.eval("document.activeElement.ariaLabel") == "Cancel sink-wanda 50\u00a0%"

    def test_a_refusal_outlives_the_next_look(self, browser: Chrome, server: Served) -> None:
        page = browser.page()
        page.open(f"{server.url}/jobs/{server.running()}")
        page.until("document.querySelector('#job button')")
        page.eval(REFUSES_POSTS)
        page.eval("document.querySelector('#job button').click()")
        told = "Cancel sink-wanda 50\u00a0%: Not now."
        assert page.text("#notice:not([hidden])") == told
        page.eval("new Promise((done) => setTimeout(done, 2500))")  # two rounds of the page
        assert page.text("#notice:not([hidden])") == told

    def test_one_that_is_not_there_leaves_nothing_but_that(
        self, browser: Chrome, server: Served
    ) -> None:
        page = browser.page()
        page.open(f"{server.url}/jobs/job_0123456789abcdef01234567")
        assert "no job" in page.text("#notice:not([hidden])")
        assert page.eval("document.querySelector('#rest').hidden")


class TestTheList:
    def test_an_empty_one_says_how_to_begin(self, browser: Chrome, keyed: Served) -> None:
        key = keyed.key(tenant="newcomer").text
        page = signed_in(browser, keyed, key, "/")
        assert f"--url {keyed.url}" in page.text("#empty:not([hidden])")
        assert page.complaints() == []

    def test_older_jobs_come_when_asked_for(self, browser: Chrome, keyed: Served) -> None:
        for _ in range(33):
            keyed.submit("many")
        page = signed_in(browser, keyed, keyed.key(tenant="many").text, "/")
        page.until("document.querySelectorAll('.card').length === 30")
        page.eval("document.querySelector('#more').click()")
        page.until("document.querySelectorAll('.card').length === 33")
        assert page.eval("document.querySelector('#more').hidden")

    def test_a_server_that_is_gone_is_told_of_and_comes_back(
        self, browser: Chrome, server: Served
    ) -> None:
        server.submit()
        page = browser.page()
        page.open(server.url)
        page.until("document.querySelector('.card')")
        page.eval("window.asked = window.fetch; window.fetch = () => Promise.reject(new Error());0")
        assert "does not answer" in page.text("#notice:not([hidden])")
        assert page.eval("document.querySelectorAll('.card').length") > 0
        page.eval("window.fetch = window.asked;0")
        page.until("document.querySelector('#notice').hidden")


class TestComparing:
    def test_jobs_are_picked_and_shown_side_by_side(self, browser: Chrome, keyed: Served) -> None:
        ids = [keyed.succeeded(REPORTS, "compares") for _ in range(3)]
        page = signed_in(browser, keyed, keyed.key(tenant="compares").text, "/")
        page.eval("document.querySelector('nav a[href=\\'/compare\\']').click()")
        page.until("document.querySelectorAll('#jobs input').length === 3")
        button = "document.querySelector('#compare')"
        assert page.eval(f"{button}.ariaDisabled") == "true"
        for job_id in ids[:2]:
            page.eval(f"document.querySelector('#pick-{job_id}').click()")
        assert page.until(f"{button}.ariaDisabled") == "false"
        assert page.text("#count") == "2 chosen"
        page.eval(f"{button}.click()")
        page.until("!document.querySelector('#found').hidden")
        assert page.eval("location.search") == f"?job={ids[0]}&job={ids[1]}"
        page.until("document.querySelector('#frame').src.includes('/v1/compare')")
        page.eval("new Promise((done) => setTimeout(done, 300))")  # until the frame is drawn
        assert page.complaints() == []
        # What is within the frame no script can reach, and none runs in it: it is opened by itself.
        page.open(page.eval("document.querySelector('#alone').href"))
        rows = page.until("document.querySelectorAll('table.compared tbody tr').length")
        assert (rows, page.eval("document.querySelectorAll('figure svg').length")) == (2, 2)
        assert page.complaints() == []

    @pytest.mark.parametrize("dark", [False, True])
    def test_the_comparison_fits_a_phone(self, browser: Chrome, server: Served, dark: bool) -> None:
        ids = [server.succeeded(REPORTS) for _ in range(8)]
        page = browser.page(390, dark=dark)
        page.open(f"{server.url}/v1/compare?{'&'.join(f'job={each}' for each in ids)}")
        page.until("document.querySelector('table.compared')")
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.eval(beyond) == 0
        boxes = page.eval(LABELS)
        assert len(boxes) == 8
        for number, (left, top, right, bottom) in enumerate(boxes):
            for l2, t2, r2, b2 in boxes[:number]:
                assert right <= l2 or r2 <= left or bottom <= t2 or b2 <= top
        assert page.complaints() == []

    def test_a_refusal_is_told(self, browser: Chrome, server: Served) -> None:
        done, waiting = server.succeeded(REPORTS), server.submit()
        page = browser.page()
        page.open(f"{server.url}/compare?job={done}&job={waiting}")
        assert "has no report to compare" in page.text("#notice:not([hidden])")
        assert page.eval("document.querySelector('#found').hidden")


class TestSweeps:
    def test_a_sweep_is_followed_compared_and_cancelled(
        self, browser: Chrome, server: Served
    ) -> None:
        sweep_id = server.sweep(name="a <b> sweep", grid={"calibration.seed": [1, 2, 3]})
        first, second, third = (
            cell["job"] for cell in server.http.get(f"/v1/sweeps/{sweep_id}").json()["cells"]
        )
        page = browser.page()
        page.open(f"{server.url}/sweeps")
        link = f"document.querySelector('.card a[href=\"/sweeps/{sweep_id}\"]')"
        assert page.until(f"{link}?.textContent") == "a <b> sweep"
        page.eval(f"{link}.click()")
        page.until("document.querySelectorAll('#cells tr').length === 3")
        assert page.text("#sweep .soft:last-child") == "3 jobs: 3 queued"
        assert page.eval("document.querySelector('#found').hidden")
        assert page.text("#cells a") == "calibration.seed 1"
        for job_id in (first, second):
            server.finish(job_id, REPORTS)
        page.until("!document.querySelector('#found').hidden")
        page.until("document.querySelector('#sweep progress').value === 2")
        page.eval("document.querySelector('#sweep button').click()")
        page.until("document.querySelector('#sweep .state').textContent === 'mixed'")
        assert server.jobs.get("default", third).state is State.CANCELLED
        assert page.eval("document.querySelectorAll('#sweep button').length") == 0
        page.eval("new Promise((done) => setTimeout(done, 300))")  # until the frame is drawn
        assert page.complaints() == []
        page.open(page.eval("document.querySelector('#alone').href"))
        assert page.until("document.querySelectorAll('table.compared tbody tr').length") == 3

    def test_one_that_is_not_there_is_told_of(self, browser: Chrome, server: Served) -> None:
        page = browser.page()
        page.open(f"{server.url}/sweeps/swp_0123456789abcdefghjkmnpq")
        assert "no sweep" in page.text("#notice:not([hidden])")


def test_who_may_only_look_gets_no_buttons(browser: Chrome, keyed: Served) -> None:
    job_id = keyed.submit()
    path = f"/jobs/{job_id}"
    reader = signed_in(browser, keyed, keyed.key("jobs:read").text, path)
    writer = signed_in(browser, keyed, keyed.key("jobs:read", "jobs:write").text, path)
    for page, count in ((reader, 0), (writer, 1)):
        page.until("document.querySelector('#job .state')")
        assert page.eval("document.querySelectorAll('#job button').length") == count


def test_the_description_shows_every_example_and_opens_what_is_named(
    browser: Chrome, server: Served
) -> None:
    page = browser.page()
    page.open(f"{server.url}/docs#JobSpec")
    page.until("document.querySelector('#JobSpec')?.open")
    examples = "[...document.querySelectorAll('#operations pre')].map((pre) => pre.textContent)"
    found = page.eval(examples)
    assert len(found) > 100
    assert all(found)
    linked = page.eval(
        "[...document.querySelectorAll('main a')].map((a) => a.getAttribute('href'))"
    )
    inside = {href.removeprefix("#") for href in linked if href.startswith("#")}
    assert {"tag-jobs", "schemas", "Problem"} <= inside
    assert [name for name in inside if not page.eval(f"!!document.getElementById('{name}')")] == []


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_cut_off_on_a_phone(browser: Chrome, server: Served, dark: bool) -> None:
    job_id = failed(server)
    refused(server, job_id)
    sweep_id = server.sweep(name="narrow", grid={"calibration.seed": [1, 2]})
    page = browser.page(390, dark=dark)
    for path, drawn in (
        ("/sweeps", ".card"),
        (f"/sweeps/{sweep_id}", "#cells td"),
        ("/", ".card"),
        (f"/jobs/{job_id}", "#deliveries button"),
        ("/compare", "#jobs input, #empty:not([hidden])"),
        ("/docs", "#components details"),
    ):
        page.open(f"{server.url}{path}")
        page.until(f"document.querySelector('{drawn}')")
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.eval(beyond) == 0, path
        narrow = "td.clientWidth && td.clientWidth < 150"  # a column in which words are broken
        cut = f"[...document.querySelectorAll('td')].filter((td) => {narrow} || td.scrollWidth > td.clientWidth)"
        assert page.eval(f"{cut}.map((td) => td.innerText)") == []
    assert page.complaints() == []
