"""A pruned model into a repository of the hub: one commit, checked against what the hub then lists.

Speaks through `huggingface_hub`, so that its environment variables hold: HF_TOKEN, HF_ENDPOINT,
HF_HUB_DISABLE_XET. Large files that the hub has are not sent again, so a push that broke off goes on.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import get_session
from huggingface_hub.utils.tqdm import disable_progress_bars

from core.destinations.errors import PushError, PushRefused
from core.destinations.hub_errors import named_errors, status_of
from core.destinations.outgoing import Outgoing, Pushed, Tell, meter
from core.destinations.places import HubModel
from core.vault import hub_token

SILENCE_SECONDS: Final = 60.0
"""Without a byte in either direction, after which a transfer is given up and tried again."""
ROUNDS: Final = 3
"""Tries at a commit where others commit to the same branch meanwhile."""
_ASKED_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Push:
    """One push; `private` and `message` as the hub understands them."""

    place: HubModel
    private: bool
    message: str
    description: str = ""

    def run(self, files: Sequence[Outgoing], tell: Tell) -> Pushed:
        """Have `files` in the repository, which is made where it is missing. Nothing is deleted.

        Raises:
            PushRefused: the token is missing, or may not write there; the repository is public and
                a private one was asked for.
            PushUnavailable: the hub does not answer, or breaks off.
            PushError: it has no room, or does not hold afterwards what was sent.
        """
        disable_progress_bars()
        get_session().timeout = SILENCE_SECONDS
        api = HfApi(os.environ.get("HF_ENDPOINT") or None, token=hub_token())
        with named_errors(str(self.place)):
            self._prepare(api)
            return self._commit(api, files, tell)

    def _prepare(self, api: HfApi) -> None:
        name = self.place.name
        try:
            info = api.model_info(name)
        except RepositoryNotFoundError:
            api.create_repo(name, private=self.private or None, exist_ok=True)
            # What a hub answers to a stranger may hide that the repository was there.
            info = api.model_info(name)
        if self.private and not info.private:
            raise PushRefused(
                f"{self.place} is public, and a private push was asked for.",
                remedy="Make the repository private first, or leave --private out.",
            )
        if self.place.branch != "main":
            api.create_branch(name, branch=self.place.branch, exist_ok=True)

    def _commit(self, api: HfApi, files: Sequence[Outgoing], tell: Tell) -> Pushed:
        for tries_left in reversed(range(ROUNDS)):
            missing = self._missing(api, files, self.place.branch)
            try:
                commit = self._send(api, missing, tell)
                break
            except HfHubHTTPError as error:
                if status_of(error) not in (409, 412) or not tries_left:
                    raise
        wrong = self._missing(api, files, commit)
        if wrong:
            raise PushError(
                f"{self.place} does not hold {wrong[0].name} as it was sent, at commit {commit}.",
                remedy="Look for a .gitignore in the repository that names it, then push again.",
            )
        sent = tuple(file.name for file in missing)
        kept = tuple(file.name for file in files if file.name not in sent)
        url = f"{api.endpoint}/{self.place.name}/tree/{commit}"
        return Pushed(url, commit, sent, kept, sum(file.bytes for file in missing))

    def _missing(self, api: HfApi, files: Sequence[Outgoing], revision: str) -> list[Outgoing]:
        """Those that the repository does not hold with these bytes."""
        held: dict[str, RepoFile] = {}
        for start in range(0, len(files), _ASKED_AT_ONCE):
            names = [file.name for file in files[start : start + _ASKED_AT_ONCE]]
            found = api.get_paths_info(self.place.name, names, revision=revision)
            held |= {each.path: each for each in found if isinstance(each, RepoFile)}
        return [file for file in files if not _same(file, held.get(file.name))]

    def _send(self, api: HfApi, files: Sequence[Outgoing], tell: Tell) -> str:
        """Upload `files` and commit them; the branch's commit then."""
        name, branch = self.place.name, self.place.branch
        if not files:
            return str(api.model_info(name, revision=branch).sha)
        additions = {file: CommitOperationAdd(file.name, file.path) for file in files}
        advance = meter(files, tell)
        for file, addition in additions.items():
            addition.upload_info.sha256 = bytes.fromhex(
                file.sha256
            )  # verified: no need to read again
            advance(file)
            # The card is read again when it is committed, so nothing may be freed.
            api.preupload_lfs_files(name, [addition], revision=branch, free_memory=False)
        tell(1.0, "committing")
        made = api.create_commit(
            name,
            list(additions.values()),
            commit_message=self.message,
            commit_description=self.description,
            revision=branch,
        )
        return made.oid


def _same(file: Outgoing, held: RepoFile | None) -> bool:
    if held is None:
        return False
    if held.lfs is not None:
        return (held.lfs.size, held.lfs.sha256) == (file.bytes, file.sha256)
    return held.size == file.bytes and held.blob_id == file.blob_id()
