"""Spaces made, filled and built on a Hub on loopback, and what goes wrong."""

import pytest
from huggingface_hub import HfApi

from ser_core.deploy import space as space_module
from ser_core.deploy.folder import Files
from ser_core.deploy.repository import open_hub
from ser_core.deploy.space import SpacePlan, deploy
from ser_core.errors import HubError
from tests.deploy.conftest import PLACE, SPACE, contents
from tests.fake_hub import FakeHub, Fault
from tests.fake_repos import Repo

PLAN = SpacePlan(SPACE)


def test_a_space_is_made_filled_built_and_asked(
    hub: FakeHub, api: HfApi, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hush")
    plan = SpacePlan(SPACE, "cpu-upgrade", ("KEY",), {"MOODMIRROR_MODEL": "compact"})
    lines = list(deploy(api, plan, files))
    made = hub.repos.repos[PLACE]
    assert made.files == contents(files)
    assert made.settings == {
        "sdk": "gradio",
        "hardware": "cpu-upgrade",
        "secrets": {"KEY": "hush"},
        "variables": {"MOODMIRROR_MODEL": "compact"},
    }
    assert lines[0] == f"created {SPACE}"
    assert made.commit in lines[3]
    assert lines[-1] == "live: stand-in 1 recognises angry (75%) in synthetic-angry.flac"
    assert "hush" not in "".join(lines)


def test_a_space_that_is_there_is_brought_up_to_date(
    hub: FakeHub, api: HfApi, files: Files, live: str
) -> None:
    old = Repo({".gitattributes": b"*.bin", "old.py": b"pass", "README.md": b"old"}, host=live)
    hub.repos.repos[PLACE] = old
    lines = list(deploy(api, SpacePlan(SPACE, "cpu-basic"), files))
    assert lines[0] == f"{SPACE} exists; requested cpu-basic"
    assert old.files == contents(files) | {".gitattributes": b"*.bin"}
    assert old.settings["hardware"] == "cpu-basic"


def test_the_build_of_the_commit_before_is_not_taken_for_ours(
    hub: FakeHub, api: HfApi, files: Files
) -> None:
    hub.repos.new.stages = ["NO_APP_FILE@older", "BUILD_ERROR@older", "RUNNING@older"]
    hub.repos.new.stages += ["BUILDING", "RUNNING"]
    assert list(deploy(api, PLAN, files))[-1].startswith("live: ")
    assert hub.asked("/runtime") >= 5


def test_without_a_token_nothing_is_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="There is no Hub token on this machine"):
        open_hub()
    assert hub.requests == []


def test_a_token_that_is_not_valid_is_refused(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(HubError, match=r"Signing in failed: .*does not accept the token"):
        open_hub()
    assert hub.asked("POST") == 0


def test_a_token_that_may_only_read_is_refused(
    hub: FakeHub, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    with pytest.raises(HubError, match=r"\(403\)\. Use a token with write permission"):
        list(deploy(open_hub(), PLAN, files))
    assert hub.repos.repos == {}


def test_a_space_of_somebody_else_is_refused(api: HfApi, files: Files) -> None:
    with pytest.raises(HubError, match=r"Creating other/mood failed: .*\(403\)"):
        list(deploy(api, SpacePlan("other/mood"), files))


def test_a_connection_that_breaks_once_is_mended(hub: FakeHub, api: HfApi, files: Files) -> None:
    hub.faults.append(Fault("PUT /lfs/", 0))
    list(deploy(api, PLAN, files))
    assert hub.repos.repos[PLACE].files == contents(files)


def test_a_network_lost_half_way_leaves_the_space_as_it_was_and_nothing_is_sent_twice(
    hub: FakeHub, api: HfApi, files: Files, live: str
) -> None:
    hub.repos.repos[PLACE] = Repo({"README.md": b"old"}, host=live)
    hub.faults.append(Fault("/commit/", 0, times=99))
    with pytest.raises(HubError, match=r"Uploading to tester/mood failed: .*Run it again when"):
        list(deploy(api, PLAN, files))
    assert hub.repos.repos[PLACE].files == {"README.md": b"old"}
    n_sent = hub.asked("PUT /lfs/")
    assert n_sent > 0
    hub.faults.clear()
    list(deploy(api, PLAN, files))
    assert hub.repos.repos[PLACE].files == contents(files)
    assert hub.asked("PUT /lfs/") == n_sent


def test_a_network_that_stays_away_is_told_in_a_sentence(
    hub: FakeHub, api: HfApi, files: Files
) -> None:
    hub.faults.append(Fault("PUT /lfs/", 0, times=99))
    with pytest.raises(HubError, match=r"Uploading to tester/mood failed: .*Run it again when"):
        list(deploy(api, PLAN, files))
    assert hub.repos.repos[PLACE].files == {}


def test_a_rate_limit_is_waited_for(
    hub: FakeHub, api: HfApi, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.faults.append(Fault("/preupload/", 429, headers={"Retry-After": "17"}))
    list(deploy(api, PLAN, files))
    assert 18.0 in waits
    assert hub.repos.repos[PLACE].files == contents(files)


def test_a_rate_limit_that_stays_says_when_to_start_again(
    hub: FakeHub, api: HfApi, files: Files
) -> None:
    hub.faults.append(Fault("/repos/create", 429, times=99, headers={"Retry-After": "240"}))
    with pytest.raises(HubError, match=r"\(429\)\. Try again in 240 s"):
        list(deploy(api, PLAN, files))


def test_hardware_that_must_be_paid_for_is_told(hub: FakeHub, api: HfApi, files: Files) -> None:
    hub.faults.append(Fault("/repos/create", 402, times=99))
    with pytest.raises(HubError, match=r"\(402\)\. This hardware is not free"):
        list(deploy(api, SpacePlan(SPACE, "a100-large"), files))


def test_a_build_that_fails_shows_the_end_of_its_log(
    hub: FakeHub, api: HfApi, files: Files
) -> None:
    hub.repos.new.stages = ["BUILDING", "BUILD_ERROR"]
    hub.repos.new.log = [f"line {i}\n" for i in range(40)] + ["ERROR: No matching distribution\n"]
    with pytest.raises(HubError, match="ends in BUILD_ERROR") as raised:
        list(deploy(api, PLAN, files))
    told = str(raised.value).splitlines()
    assert told[-1] == "ERROR: No matching distribution"
    assert len(told) == 1 + space_module.N_LOG_LINES


@pytest.mark.parametrize("commit", ["", "@older"])
@pytest.mark.parametrize("seen", [["BUILDING"], []])
def test_a_failure_is_told_whichever_commit_the_hub_names(
    hub: FakeHub,
    api: HfApi,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    commit: str,
    seen: list[str],
) -> None:
    monkeypatch.setattr(space_module, "STALE_S", 0.1)
    hub.repos.new.stages = [*seen, f"RUNTIME_ERROR{commit}"]
    hub.repos.new.log = ["MoodMirror cannot start.\n"]
    with pytest.raises(HubError, match=r"(?s)ends in RUNTIME_ERROR.*MoodMirror cannot start\."):
        list(deploy(api, PLAN, files))


def test_a_space_that_is_paused_is_not_waited_for_and_may_have_no_log(
    hub: FakeHub, api: HfApi, files: Files
) -> None:
    hub.repos.new.stages = ["PAUSED"]
    hub.faults.append(Fault("/logs/run", 404, times=99))
    with pytest.raises(HubError, match=r"ends in PAUSED\. Reading its log failed: .*\(404\)"):
        list(deploy(api, PLAN, files))


def test_a_build_without_end_is_given_up(
    hub: FakeHub, api: HfApi, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_module, "BUILD_WITHIN_S", 0.1)
    hub.repos.new.stages = ["BUILDING"]
    with pytest.raises(HubError, match="is still in BUILDING after"):
        list(deploy(api, PLAN, files))


def test_secrets_come_from_the_environment_alone() -> None:
    with pytest.raises(HubError, match="The secrets NOT_SET_HERE are not in the environment"):
        SpacePlan(SPACE, secrets=("NOT_SET_HERE",)).secret_values()
