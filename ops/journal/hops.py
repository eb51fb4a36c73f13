"""The hops of a call: one name for each place it must pass. The bridge writes them, a scenario
expects them, the timeline judges them. Pure."""

from __future__ import annotations

from enum import StrEnum


class Hop(StrEnum):
    """Journal events in the order in which a call passes them; those with a turn come once a turn."""

    PLACED = "call.placed"  # Twilio accepted the call
    WEBHOOK = "webhook.received"  # the voice webhook came, rightly signed
    TWIML = "webhook.answered"  # the TwiML went back, with a ticket in it
    UPGRADED = "stream.upgraded"  # the media stream's handshake came, rightly signed
    STARTED = "stream.started"  # its start message showed the ticket of this call
    MODEL_CONNECTED = "model.connected"  # the Realtime socket is open
    MODEL_READY = "model.ready"  # session.updated confirmed our settings
    FIRST_AUDIO = "agent.first-audio"  # the first agent frame went to the phone
    CALLER_SPEAKS = "caller.speech-started"
    CALLER_SILENT = "caller.speech-stopped"
    AGENT_SPEAKS = "agent.speech-started"  # first frame of one answer
    AGENT_SILENT = "agent.speech-ended"  # its last frame was played, or cleared
    CLEARED = "barge-in.cleared"  # the phone's buffer was emptied
    TRUNCATED = "barge-in.truncated"  # the model was told what was heard
    ANSWERED = "turn.answered"  # fields: turn, latency_ms, barge_in
    TOOL_CALLED = "tool.called"  # the model wants a function called
    TOOL_RETURNED = "tool.returned"
    FILLED = "agent.filler"  # a recorded sentence instead of silence
    RESUMED = "stream.resumed"  # the call came back after its stream was lost
    STOPPED = "stream.stopped"
    MODEL_CLOSED = "model.closed"
    ENDED = "call.ended"  # fields: reason, seconds, turns
