"""One-time tickets, bound to a call."""

from __future__ import annotations

from ops.apps.tickets import LIFE, Terms, Tickets

ONE, TWO = "CA" + "1" * 32, "CA" + "2" * 32


def test_a_ticket_opens_one_stream_of_its_own_call() -> None:
    """Right call, right secret, in time, once."""
    tickets = Tickets()
    secret = tickets.issue(ONE, 0.0, Terms(record=True))
    assert tickets.redeem(TWO, secret, 1.0) is None
    assert tickets.redeem(ONE, secret + "x", 1.0) is None
    ticket = tickets.redeem(ONE, secret, LIFE - 0.1)
    assert ticket is not None
    assert ticket.terms.record
    assert tickets.redeem(ONE, secret, LIFE - 0.1) is None


def test_a_ticket_cannot_be_guessed() -> None:
    """256 random bits, other ones each time."""
    tickets = Tickets()
    secrets = {tickets.issue(ONE, 0.0) for _ in range(100)}
    assert len(secrets) == 100
    assert min(map(len, secrets)) >= 43  # letters of base64


def test_a_late_ticket_is_void() -> None:
    """After its life it opens nothing."""
    tickets = Tickets()
    assert tickets.redeem(ONE, tickets.issue(ONE, 0.0), LIFE) is None


def test_a_repeated_webhook_voids_the_unused_ticket() -> None:
    """Only the newest ticket of a call is good."""
    tickets = Tickets()
    old, new = tickets.issue(ONE, 0.0), tickets.issue(ONE, 1.0)
    assert tickets.redeem(ONE, old, 2.0) is None
    assert tickets.redeem(ONE, new, 2.0) is not None


def test_forgotten_tickets_do_not_pile_up() -> None:
    """Expired tickets are dropped when the next one is issued."""
    tickets = Tickets()
    for index in range(100):
        tickets.issue(f"CA{index:032x}", float(index))
    assert len(tickets._out) <= LIFE + 1


def test_what_is_not_text_opens_nothing() -> None:
    """A lone surrogate or an empty ticket is refused, not an error."""
    tickets = Tickets()
    tickets.issue(ONE, 0.0)
    assert tickets.redeem(ONE, "\ud800", 0.0) is None
    assert tickets.redeem(ONE, "", 0.0) is None
