"""Single rules of the election, on the machine itself."""

from dataclasses import replace

import pytest
from meshd.cluster.election import lease, machine, worlds
from meshd.cluster.election.messages import (
    Appended,
    Committed,
    ConfirmReply,
    ConfirmRequest,
    Follow,
    ForceWanted,
    HandOver,
    HandOverWanted,
    Heartbeat,
    HeartbeatReply,
    Lead,
    NodesChanged,
    Park,
    Parked,
    Received,
    Refused,
    Send,
    StepDown,
    StoreFailed,
    StoreSeen,
    Tick,
    TimingChanged,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import Timing, starting, timing_of, wake_at
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.durability import Promise

ABC = Voters(("a", "b", "c"))
AT = Position(2, 10)
SLOT = 1234


class Voter:
    """One machine, its clock, and what it did."""

    def __init__(self, self_id="b", promise=Promise(2, AT), at=AT, voters=ABC):
        self.now = 100.0
        self.state = starting(self_id, promise, self.now, nodes=frozenset(voters.everyone))
        self.did = []
        self.take(StoreSeen(at, voters, True))

    def take(self, event):
        self.state, effects = machine.step(self.state, event, self.now)
        self.did += effects
        return effects

    def hear(self, sender, message):
        return self.take(Received(sender, message))

    def wait(self, seconds):
        self.now += seconds
        return self.take(Tick())


def answers(effects):
    return [one.message for one in effects if isinstance(one, Send)]


def leader(self_id="a", voters=ABC):
    """Elected in epoch 3, first entry written and committed."""
    one = Voter(self_id, voters=voters)
    one.wait(2)
    one.hear("c", VoteReply(3, True, 2))
    one.take(Parked(one.state.token, AT, voters))
    assert any(isinstance(effect, Lead) for effect in one.hear("c", VoteReply(3, False, 3)))
    one.take(Appended(Position(3, 11), voters))
    one.take(StoreSeen(Position(3, 11), voters, True))
    one.hear("c", HeartbeatReply(3, one.now, Position(3, 11)))
    assert Committed(Position(3, 11)) in one.hear("c", ConfirmReply(3, Position(3, 11)))
    return one


def test_vote_is_refused_right_after_a_heartbeat_and_right_after_a_start():
    voter = Voter()
    assert answers(voter.hear("c", VoteRequest(3, AT)))[0].refusal == "recent"  # just started
    voter.wait(1.1)
    voter.hear("a", Heartbeat(2, 1.0))
    assert answers(voter.hear("c", VoteRequest(3, AT)))[0].refusal == "recent"
    voter.now += 1.1
    assert answers(voter.hear("c", VoteRequest(3, AT)))[0].refusal == ""
    assert voter.state.promise == Promise(3, AT, "c")


def test_second_candidate_of_an_epoch_gets_no_vote_and_the_first_gets_it_again():
    voter = Voter()
    voter.now += 1.1
    voter.hear("c", VoteRequest(3, AT))
    assert answers(voter.hear("a", VoteRequest(3, AT)))[0].refusal == "epoch"
    assert answers(voter.hear("c", VoteRequest(3, AT)))[0].refusal == ""


def test_trial_changes_nothing():
    voter = Voter()
    voter.now += 1.1
    assert answers(voter.hear("c", VoteRequest(3, AT, trial=True)))[0].refusal == ""
    assert voter.state.promise == Promise(2, AT)


@pytest.mark.parametrize("behind", [Position(2, 9), Position(1, 99)])
def test_candidate_that_lacks_something_gets_no_vote(behind):
    voter = Voter()
    voter.now += 1.1
    assert answers(voter.hear("c", VoteRequest(3, behind)))[0].refusal == "position"


def test_candidate_below_the_floor_gets_no_vote_from_a_voter_whose_redis_is_gone():
    voter = Voter(promise=Promise(2, Position(2, 20)))
    voter.now += 1.1
    voter.take(StoreFailed("gone"))
    assert answers(voter.hear("c", VoteRequest(3, Position(2, 19))))[0].refusal == "position"
    assert answers(voter.hear("c", VoteRequest(3, Position(2, 20))))[0].refusal == ""


def test_voter_confirms_nothing_of_an_epoch_older_than_the_promised_one():
    voter = Voter()
    voter.now += 1.1
    voter.hear("c", VoteRequest(3, AT))
    assert answers(voter.hear("a", ConfirmRequest(AT))) == [ConfirmReply(3, Position())]
    assert answers(voter.take(StoreSeen(Position(2, 11), ABC, True))) == []


def test_what_was_asked_before_a_newer_promise_is_not_confirmed_after_it():
    voter = Voter()
    voter.now += 1.1
    voter.hear("a", ConfirmRequest(Position(2, 11)))
    voter.hear("c", VoteRequest(3, AT))
    assert answers(voter.take(StoreSeen(Position(2, 11), ABC, True))) == []


def test_nothing_is_confirmed_before_it_is_on_disk():
    voter = Voter()
    voter.hear("a", ConfirmRequest(Position(2, 11)))
    assert answers(voter.take(StoreSeen(Position(2, 11), ABC, in_force=False))) == []
    assert voter.state.promise.floor == AT
    assert answers(voter.take(StoreSeen(Position(2, 11), ABC, in_force=True))) == [ConfirmReply(2, Position(2, 11))]
    assert voter.state.promise.floor == Position(2, 11)


def test_candidate_parks_before_it_stands_and_stands_with_what_it_has_then():
    one = Voter("b")
    effects = one.wait(2)
    assert {effect.to for effect in effects if isinstance(effect, Send)} == {"a", "c"}
    assert Park(1) in one.hear("c", VoteReply(3, True, 2))
    assert one.state.promise.epoch == 2
    effects = one.take(Parked(1, Position(2, 12), ABC))
    assert VoteRequest(3, Position(2, 12)) in answers(effects)
    assert one.state.promise == Promise(3, AT, "b")
    assert Lead(3, Position(2, 12), 1) in one.hear("a", VoteReply(3, False, 3))


def test_candidate_whose_redis_restarts_gives_up():
    one = Voter("b")
    one.wait(2)
    one.hear("c", VoteReply(3, True, 2))
    one.take(Parked(1, AT, ABC))
    one.take(StoreFailed("restarted"))
    assert not any(isinstance(effect, Lead) for effect in one.hear("a", VoteReply(3, False, 3)))


def test_old_grants_of_a_trial_are_no_votes():
    one = Voter("b")
    one.wait(2)
    one.hear("c", VoteReply(3, True, 2))
    one.take(Parked(1, AT, ABC))
    assert not any(isinstance(effect, Lead) for effect in one.hear("c", VoteReply(3, True, 2)))


def test_primary_steps_down_without_its_quorum_and_says_so_once():
    one = leader()
    assert lease.writable(one.state, one.now)
    one.now += 0.8
    assert not lease.writable(one.state, one.now)
    effects = one.wait(0.3)
    assert [effect.epoch for effect in effects if isinstance(effect, StepDown)] == [3]
    assert not one.state.leading


def test_primary_steps_down_when_its_redis_fails():
    one = leader()
    assert any(isinstance(effect, StepDown) for effect in one.take(StoreFailed("hangs")))


def test_lease_counts_from_the_sending_of_what_a_quorum_answered():
    one = leader()
    sent = one.now
    one.now += 0.5
    one.hear("c", HeartbeatReply(3, sent, Position(3, 11)))
    assert lease.writable(one.state, sent + 0.74)
    assert not lease.writable(one.state, sent + 0.76)


def test_entry_is_committed_only_by_a_quorum_that_promised_this_epoch():
    one = leader()
    one.take(Appended(Position(3, 12), ABC))
    assert not any(isinstance(x, Committed) for x in one.hear("b", ConfirmReply(4, Position(3, 12))))
    assert not any(isinstance(x, Committed) for x in one.hear("b", ConfirmReply(3, Position(2, 12))))
    one.take(StoreSeen(Position(3, 12), ABC, True))
    assert Committed(Position(3, 12)) in one.hear("b", ConfirmReply(3, Position(3, 12)))


def test_nothing_is_written_during_a_change_of_voters_without_a_quorum_of_each_set():
    one = leader()
    joint = Voters(("a", "b", "c"), ("d", "e"))
    one.take(Appended(Position(3, 12), joint))
    one.take(StoreSeen(Position(3, 12), joint, True))
    assert not any(isinstance(x, Committed) for x in one.hear("c", ConfirmReply(3, Position(3, 12))))
    assert Committed(Position(3, 12)) in one.hear("d", ConfirmReply(3, Position(3, 12)))


def test_what_was_confirmed_before_it_was_known_to_be_written_is_committed_all_the_same():
    """A voter that was asked for the entry before confirms what it has by then. With the record of fewer voters that is
    the next entry, nobody is left to be asked."""
    one = leader()
    joint, after = Voters(("a", "b", "c"), ("b",)), Voters(("b",))
    one.take(Appended(Position(3, 12), joint))
    one.take(StoreSeen(Position(3, 12), joint, True))
    one.hear("c", ConfirmReply(3, Position(3, 12)))
    assert Committed(Position(3, 12)) in one.hear("b", ConfirmReply(3, Position(3, 13)))
    effects = one.take(Appended(Position(3, 13), after))
    assert Committed(Position(3, 13)) in effects
    effects = one.hear("b", HeartbeatReply(3, one.now, Position(3, 13))) + effects
    assert Send("b", HandOver(3)) in effects, "and who votes no longer leaves"


def test_returning_primary_follows_the_new_one():
    one = leader()
    effects = one.hear("b", Heartbeat(4, 5.0, open=True))
    assert any(isinstance(effect, StepDown) for effect in effects)
    assert effects[-1] == Follow("b", 4, False)
    assert one.state.promise == Promise(4, Position(3, 11), "")


def test_old_heartbeat_is_told_of_the_newer_epoch():
    voter = Voter(promise=Promise(5))
    assert answers(voter.hear("a", Heartbeat(4, 7.0))) == [HeartbeatReply(5, 7.0)]
    assert voter.state.heard == float("-inf")


def test_hand_over_waits_for_the_target_and_steps_down_first():
    one = leader()
    assert one.take(HandOverWanted("b")) == []
    assert not lease.writable(one.state, one.now)
    effects = one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
    assert isinstance(effects[0], StepDown)
    assert effects[1] == Send("b", HandOver(3))


def test_hand_over_needs_no_wait_at_the_voters():
    voter = Voter("c")
    voter.hear("a", Heartbeat(2, 1.0))
    assert answers(voter.hear("b", VoteRequest(3, AT, released=2)))[0].refusal == ""


def test_primary_of_a_single_voter_needs_nobody():
    one = Voter("a", voters=Voters(("a",)))
    assert Park(1) in one.wait(2)
    assert Lead(3, AT, 1) in one.take(Parked(1, AT, Voters(("a",))))


def test_younger_of_a_pair_never_wins_alone_and_the_older_does():
    pair = Voters(("a", "b"))
    for name, wins in (("a", True), ("b", False)):
        one = Voter(name, voters=pair)
        for _ in range(40):
            one.wait(0.3)
        assert any(isinstance(effect, Park) for effect in one.did) is wins


def test_oldest_waits_least():
    first = Voter("a").state
    second = replace(first, self_id="b")
    third = replace(first, self_id="c")
    newcomer = replace(first, self_id="z")
    from meshd.cluster.election.state import stand_at

    waits = [stand_at(state) for state in (first, second, third, newcomer)]
    assert waits == sorted(set(waits))


def test_nodes_without_a_vote_hear_the_primary_too():
    one = leader()
    one.take(NodesChanged(frozenset({"a", "b", "c", "n8"})))
    assert "n8" in {effect.to for effect in one.wait(0.21) if isinstance(effect, Send)}


def test_node_that_votes_no_more_stands_last_with_what_the_voters_lack():
    """Its removal may be in its data alone: nobody gets its vote without it, so it must be able to win with it."""
    one = Voter("a", voters=Voters(("b", "c")))
    assert one.wait(1.5) == []
    effects = one.wait(1.0)
    assert {effect.to for effect in effects if isinstance(effect, Send)} == {"b", "c"}
    assert Park(1) not in one.hear("c", VoteReply(3, True, 2))
    assert Park(1) in one.hear("b", VoteReply(3, True, 2))


def test_primary_whose_changes_nobody_gets_lets_others_lead():
    """Its heartbeats are answered all the time: only the way of the data is cut."""
    one = leader()
    one.take(Appended(Position(3, 12), ABC))
    began, effects = one.now, []
    while not effects and one.now - began < 20:
        one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
        one.hear("c", HeartbeatReply(3, one.now, Position(3, 11)))
        effects = [effect for effect in one.wait(0.1) if isinstance(effect, StepDown)]
    assert effects == [StepDown(3, "no quorum of the voters gets a copy of its changes")]
    assert 5 <= one.now - began < 5.2
    assert not any(isinstance(effect, Send) for effect in one.wait(1.9)), "it asks for votes after the others could"


def test_primary_goes_on_while_a_quorum_gets_a_full_copy():
    """However long that takes: the next term would begin it anew. It ends when the copying does, without a result."""
    one = leader()
    one.take(Appended(Position(3, 12), ABC))
    for _ in range(300):
        one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
        one.hear("c", HeartbeatReply(3, one.now, AT, copying=True))
        assert not any(isinstance(effect, StepDown) for effect in one.wait(0.1))
    ended, effects = one.now, []
    while not effects and one.now - ended < 20:
        one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
        one.hear("c", HeartbeatReply(3, one.now, AT))
        effects = [effect for effect in one.wait(0.1) if isinstance(effect, StepDown)]
    assert effects == [StepDown(3, "no quorum of the voters gets a copy of its changes")]
    assert 4.8 <= one.now - ended < 5.2


def test_who_is_not_heard_any_more_gets_no_copy():
    """Its last word was that it is getting one; the other answers, and gets none."""
    one = leader()
    one.take(Appended(Position(3, 12), ABC))
    one.hear("c", HeartbeatReply(3, one.now, AT, copying=True))
    began, effects = one.now, []
    while not effects and one.now - began < 20:
        one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
        effects = [effect for effect in one.wait(0.1) if isinstance(effect, StepDown)]
    assert 5 <= one.now - began < 6.2


def test_voter_says_that_it_gets_a_full_copy_until_it_has_it():
    one = Voter()
    assert answers(one.hear("a", Heartbeat(2, one.now)))[0].copying is False
    one.take(StoreSeen(AT, ABC, True, copying=True))
    assert answers(one.hear("a", Heartbeat(2, one.now)))[0].copying is True
    one.take(StoreFailed("redis ended"))
    assert answers(one.hear("a", Heartbeat(2, one.now)))[0].copying is False


def test_primary_that_is_confirmed_now_and_then_goes_on():
    one = leader()
    for revision in range(12, 20):
        one.take(Appended(Position(3, revision), ABC))
        for _ in range(40):
            one.hear("c", HeartbeatReply(3, one.now, Position(3, 11)))
            assert not any(isinstance(effect, StepDown) for effect in one.wait(0.1))
        one.take(StoreSeen(Position(3, revision), ABC, True))
        one.hear("c", ConfirmReply(3, Position(3, revision)))


def test_a_quorum_by_itself_never_gives_up():
    """The older one of a pair, whose Redis is rewriting its file: nobody else could lead."""
    pair = Voters(("a", "b"))
    one = Voter("a", voters=pair)
    one.wait(2)
    assert any(isinstance(effect, Lead) for effect in one.take(Parked(one.state.token, AT, pair)))
    one.take(Appended(Position(3, 11), pair))
    for _ in range(300):
        one.hear("b", HeartbeatReply(3, one.now, Position(3, 11)))
        assert not any(isinstance(effect, StepDown) for effect in one.wait(0.1))


def test_a_world_goes_on_after_a_million_elections():
    """Epochs of `--force` have 2^20 numbers each. A mesh that was never forced must not stop at the last one."""
    last = Position(2**20 - 1, 500)
    one = Voter("a", Promise(last.epoch, last), last)
    one.wait(2)
    assert one.state.attempt is not None, "it does not even ask"
    one.hear("c", VoteReply(2**20, True, last.epoch))
    one.take(Parked(one.state.token, last, ABC))
    assert any(isinstance(effect, Lead) for effect in one.hear("c", VoteReply(2**20, False, 2**20)))
    voter = Voter("b", Promise(last.epoch, last), last)
    voter.now += 2
    assert answers(voter.hear("a", VoteRequest(2**20, last))) == [VoteReply(2**20, False, 2**20)]
    follow = [one for one in voter.hear("a", Heartbeat(2**20, 1.0, open=True)) if isinstance(one, Follow)]
    assert follow == [Follow("a", 2**20)], "nothing was given up, so nothing is kept aside"


def test_a_world_that_was_forced_is_not_the_next_one_of_another():
    """Data of the world before may lack what the forced node committed."""
    forced = worlds.forced_epoch(2, 1234)
    voter = Voter("b", Promise(forced, AT), AT)
    voter.now += 2
    assert answers(voter.hear("a", VoteRequest(forced + 1, AT)))[0].refusal == "world"
    beside = Position(forced + 2**20, 20)  # a neighbour, forced at the same time
    assert not worlds.continues(beside.epoch, forced + 7)
    assert worlds.continues(beside.epoch, forced + 2**20 - 7)
    assert not worlds.continues(beside.epoch + 2**20, forced + 2**20 - 7)


def damaged(self_id="a", voters=Voters(("a",))):
    """Its Redis lost the last of what it had confirmed."""
    return Voter(self_id, Promise(2, Position(2, 20), self_id), Position(2, 19), voters)


def test_data_that_lost_what_was_confirmed_leads_only_when_a_person_knows():
    alone = damaged()
    for _ in range(100):
        alone.wait(1)
    assert not [one for one in alone.did if isinstance(one, Park | Lead)], "it led over lost changes, and said nothing"
    alone.take(ForceWanted(SLOT))
    assert isinstance(alone.take(Parked(alone.state.token, Position(2, 19), Voters(("a",))))[0], Refused)
    alone.take(ForceWanted(SLOT, accepted=Position(2, 19)))
    (lead,) = alone.take(Parked(alone.state.token, Position(2, 19), Voters(("a",))))
    assert isinstance(lead, Lead)
    assert lead.base == Position(2, 19)
    first = Position(lead.epoch, 20)
    alone.take(Appended(first, Voters(("a",))))
    assert Committed(first) in alone.take(StoreSeen(first, Voters(("a",)), True))
    assert lease.writable(alone.state, alone.now)


def test_no_less_is_led_with_than_the_person_was_told():
    alone = damaged()
    alone.wait(2)
    alone.take(ForceWanted(SLOT, accepted=Position(2, 19)))
    (refused,) = alone.take(Parked(alone.state.token, Position(2, 18), Voters(("a",))))
    assert isinstance(refused, Refused)
    assert not alone.state.leading


def test_force_is_refused_before_anybody_is_asked_where_it_can_not_be_done():
    for at, voters in ((Position(), Voters()), (Position(2, 19), Voters(("b", "c")))):
        node = damaged(voters=voters)
        node.take(StoreSeen(at, voters, True))
        node.wait(2)
        (refused,) = node.take(ForceWanted(SLOT, accepted=at))
        assert isinstance(refused, Refused)


@pytest.mark.parametrize("what", ["redis is gone", "its file lost its end"])
def test_the_only_node_of_a_mesh_without_its_data_does_not_spin(what):
    """It waits for nobody, but for its Redis: a tick that is always due lets nothing else run."""
    alone = Voter("a", Promise(2, AT, "a"), AT, Voters(("a",)))
    alone.take(StoreFailed("redis ended"))
    if what != "redis is gone":
        alone.take(StoreSeen(Position(2, 9), Voters(("a",)), True))
    alone.take(Tick())
    assert wake_at(alone.state) > alone.now


# --- timing -----------------------------------------------------------------------------------------------------------


def test_all_of_a_timing_is_in_proportion_to_the_time_out():
    assert timing_of(0) == timing_of(1.0) == Timing()
    slow = timing_of(4.0)
    assert (slow.heartbeat, slow.lease, slow.timeout, slow.round, slow.stuck) == (0.8, 3.0, 4.0, 2.0, 20.0)


def test_a_voter_waits_as_long_as_the_primary_said_also_after_a_restart():
    voter = Voter()
    voter.now += 5
    voter.hear("a", Heartbeat(2, 1.0, AT, True, timeout=4.0))
    assert voter.state.promise.patience == 4.0
    voter.now += 3.9
    asked = VoteRequest(3, AT)
    (reply,) = voter.hear("c", asked)
    assert reply.message.refusal == "recent"
    again = Voter(promise=voter.state.promise)
    again.now += 3.9
    (reply,) = again.hear("c", asked)
    assert reply.message.refusal == "recent"
    voter.now += 0.2
    (reply,) = voter.hear("c", asked)
    assert not reply.message.refusal


def test_a_longer_lease_rests_on_heartbeats_that_said_so():
    one = leader()
    before = one.now
    assert lease.has_lease(one.state, one.now + 0.7)
    one.now += 0.1
    one.take(TimingChanged(timing_of(4.0)))
    assert not lease.has_lease(one.state, one.now)
    one.hear("c", HeartbeatReply(3, before, AT))  # to a heartbeat of the old timing
    assert not lease.has_lease(one.state, one.now)
    (*_, beat) = [effect.message for effect in one.wait(0.001) if isinstance(effect, Send) and effect.to == "c"]
    assert beat.timeout == 4.0
    one.hear("c", HeartbeatReply(3, beat.sent_at, AT))
    assert lease.has_lease(one.state, one.now + 2.9)
