"""What it means when a hop of a call is missing, and where to look. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.journal.hops import Hop


@dataclass(frozen=True)
class Advice:
    """One missing hop in words: what its absence means, and what to do."""

    means: str
    fix: str


_ITS_LOG = "read the bridge's own output"
_LOG = "read the bridge's log: inv logs --service websocket-server"

MISSING: Mapping[Hop, Advice] = {
    Hop.PLACED: Advice(
        "Twilio did not accept the call", "check the account and the two numbers: inv validate --only twilio"
    ),
    Hop.WEBHOOK: Advice(
        "Twilio accepted the call, but its voice webhook never reached the bridge rightly signed",
        "check that the tunnel is up and points at the bridge, and the auth token: inv validate",
    ),
    Hop.TWIML: Advice("the webhook came in, but the bridge sent no TwiML back", _LOG),
    Hop.UPGRADED: Advice(
        "Twilio got the TwiML, but no rightly signed media stream was opened",
        "check that the stream URL in the TwiML is reachable as a websocket: inv validate --only websocket",
    ),
    Hop.STARTED: Advice(
        "the media stream was opened, but no start message with this call's ticket came",
        f"a ticket is good once and for a short time; {_LOG}",
    ),
    Hop.MODEL_CONNECTED: Advice(
        "the call came through, but the Realtime connection was not opened",
        "check key, address and limits: inv validate --only openai",
    ),
    Hop.MODEL_READY: Advice(
        "the Realtime connection is open, but it did not confirm the session's settings",
        f"check OPENAI_MODEL and OPENAI_VOICE; {_LOG}",
    ),
    Hop.FIRST_AUDIO: Advice(
        "the caller heard nothing: no agent audio was sent to the phone",
        f"the model made no audio, or the bridge did not pass it on; {_LOG}",
    ),
    Hop.CALLER_SPEAKS: Advice(
        "the model never noticed that the caller speaks",
        "listen to call.wav: if its left side has speech, look at turn detection in the session's settings",
    ),
    Hop.CALLER_SILENT: Advice(
        "the model never noticed that the caller had finished, so it did not answer",
        "look for noise on the left side of call.wav, and at turn detection in the session's settings",
    ),
    Hop.AGENT_SPEAKS: Advice("the agent began no answer", _LOG),
    Hop.AGENT_SILENT: Advice(
        "no answer was played to its end: marks did not come back",
        f"the phone returns a mark when the audio before it was played; {_LOG}",
    ),
    Hop.CLEARED: Advice(
        "no interruption emptied the phone's buffer: either the caller did not interrupt, or the agent "
        "went on speaking",
        f"the bridge must send `clear` when the caller starts to speak; listen to call.wav, and {_LOG}",
    ),
    Hop.TRUNCATED: Advice(
        "after the interruption the model was not told what was heard, so it believes it said everything",
        f"the bridge must send conversation.item.truncate after `clear`; {_LOG}",
    ),
    Hop.ANSWERED: Advice("the agent answered no turn", f"the model made no answer to the caller; {_LOG}"),
    Hop.STOPPED: Advice(
        "the media stream ended without a stop message: its connection was cut, or the agent hung up",
        _LOG,
    ),
    Hop.MODEL_CLOSED: Advice(
        "the phone hung up, but the Realtime connection was not closed and goes on costing money", _LOG
    ),
    Hop.ENDED: Advice(
        "the bridge did not finish the call's record", f"see whether it still runs: inv status; {_LOG}"
    ),
    Hop.TOOL_CALLED: Advice(
        "the model called no function", "see what the session offers as tools, and its instructions"
    ),
    Hop.TOOL_RETURNED: Advice("the function that the model called gave no answer in time", _LOG),
    Hop.FILLED: Advice(
        "no recorded sentence filled a silence", "this is good news, unless the scenario wants it"
    ),
    Hop.RESUMED: Advice("the call did not come back after its stream was lost", _LOG),
}

# The same for a call to somebody else's agent, of which only its two ends were seen.
MISSING_AT_THE_PHONE: Mapping[Hop, Advice] = {
    **MISSING,
    Hop.WEBHOOK: Advice(
        "the webhook gave no answer at all", "start the bridge, and check host, port and path of --webhook"
    ),
    Hop.TWIML: Advice(
        "the webhook answered, but not with TwiML that can be carried out",
        f"answer text/xml with <Response> as its root; {_ITS_LOG}",
    ),
    Hop.UPGRADED: Advice(
        "the TwiML was read, but no media stream was opened: it has no <Connect><Stream>, or the address in "
        "it cannot be reached",
        f"name the websocket's public address in <Stream url>, without a query; {_ITS_LOG}",
    ),
    Hop.MODEL_READY: Advice(
        "the Realtime connection is open, but no session.update was confirmed, so the audio format is not "
        "the phone's",
        "send session.update with audio/pcmu for input and output after session.created",
    ),
    Hop.FIRST_AUDIO: Advice(
        "the caller heard nothing: the bridge sent no media message",
        f"send each response.output_audio.delta as a media message with the streamSid of `start`; {_ITS_LOG}",
    ),
    Hop.CALLER_SPEAKS: Advice(
        "the caller never came to speak: the agent neither fell silent nor left room", _ITS_LOG
    ),
    Hop.AGENT_SPEAKS: Advice(
        "media messages came, but no speech could be heard in them",
        "send mu-law of 8 kHz (audio/pcmu) without a header, neither PCM nor WAV",
    ),
    Hop.CLEARED: Advice(
        "the caller interrupted, and the agent spoke on: the phone's buffer was not emptied",
        'send {"event": "clear", "streamSid": …} when the model tells input_audio_buffer.speech_started, '
        "and drop the audio that is still to be sent",
    ),
    Hop.ANSWERED: Advice(
        "the agent answered no turn",
        f"pass every media payload of the caller to the model as input_audio_buffer.append; {_ITS_LOG}",
    ),
    Hop.ENDED: Advice("the call did not end", _ITS_LOG),
}
