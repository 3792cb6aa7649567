"""The table of states. A store is driven against it in tests/contract/test_job_store_machine.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import WrongState
from core.jobs.states import NEXT, OWNED, RETRYABLE, TERMINAL, State, check_move, sources_of


@given(now=st.sampled_from(State), then=st.sampled_from(State))
def test_a_move_is_allowed_exactly_when_the_table_has_it(now: State, then: State) -> None:
    if then in NEXT[now]:
        check_move("job", now, then)
        assert now in sources_of(then)
    else:
        with pytest.raises(WrongState, match=f"is {now} and cannot become {then}"):
            check_move("job", now, then)
        assert now not in sources_of(then)


def test_every_state_can_reach_an_end_and_only_a_wish_leads_on_from_one() -> None:
    assert {state for state in State if not NEXT[state] - {State.QUEUED}} == TERMINAL
    assert {state for state in TERMINAL if NEXT[state]} == RETRYABLE
    assert NEXT[State.SUCCEEDED] == frozenset()
    for state in State:
        reached, grown = {state}, {state} | NEXT[state]
        while grown != reached:
            reached, grown = grown, grown.union(*(NEXT[s] for s in grown))
        assert reached & TERMINAL
    assert all(NEXT[state] for state in OWNED)
