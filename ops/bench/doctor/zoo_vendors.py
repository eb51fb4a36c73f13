"""The bug zoo's rows of the vendors, and of the way in from Twilio to the built-in stack. Data alone."""

from __future__ import annotations

from ops.bench.doctor.seeds import Arm, Env, File, Number, Program, Queue
from ops.bench.doctor.zoo import Fault

SHAKE_HANDS = "import sys; from ops.bench.doctor.selfsigned import main; main(*sys.argv[1:])"

TWILIO: tuple[Fault, ...] = (
    Fault(
        "a region without an edge",
        "twilio.region",
        "28 April 2026",
        (Env({"TWILIO_API_URL": "https://api.ie1.twilio.com"}),),
    ),
    Fault("too many requests", "twilio.limits", "20429", (Arm("twilio", "rest-limit"),)),
    Fault("a queue of calls", "twilio.limits", "queue", (Queue(8),)),
    Fault("a wrong token", "twilio.credentials", "20003", (Env({"TWILIO_AUTH_TOKEN": "{hex}"}),)),
    Fault("suspended", "twilio.account", "suspended", (Arm("twilio", "account-suspended"),)),
    Fault("a trial", "twilio.account", "trial", (Arm("twilio", "account-trial"),)),
    Fault("no money", "twilio.balance", "calls are refused", (Arm("twilio", "balance", {"debt": 10}),)),
    Fault(
        "another's number", "twilio.number", "does not own", (Env({"TWILIO_PHONE_NUMBER": "+12025550133"}),)
    ),
    Fault(
        "a number without voice", "twilio.number", "not voice capable", (Arm("twilio", "number-voiceless"),)
    ),
    Fault("the number is not told", "twilio.number", "is not set", (Env({"TWILIO_PHONE_NUMBER": None}),)),
    Fault(
        "API key good, token old",
        "twilio.token",
        "the auth token is refused",
        (
            Env(
                {
                    "TWILIO_API_KEY": "{api_key}",
                    "TWILIO_API_SECRET": "{api_secret}",
                    "TWILIO_AUTH_TOKEN": "{hex}",
                }
            ),
        ),
    ),
    Fault("the Debugger is full", "twilio.alerts", "31920", (Arm("twilio", "alert", {"code": 31920}),)),
)

OPENAI: tuple[Fault, ...] = (
    Fault("a text model", "openai.protocol", "not a Realtime model", (Env({"OPENAI_MODEL": "gpt-4o"}),)),
    Fault("a Live model", "openai.protocol", "Live protocol", (Env({"OPENAI_MODEL": "gpt-live-1"}),)),
    Fault("a wrong key", "openai.key", "invalid_api_key", (Env({"OPENAI_API_KEY": "sk-{hex}{hex}"}),)),
    Fault("a misspelled model", "openai.model", "may not use", (Env({"OPENAI_MODEL": "gpt-realtime-9"}),)),
    Fault(
        "a model that goes away", "openai.shutdown", "in 20 days", (Arm("openai", "retiring", {"days": 20}),)
    ),
    Fault(
        "transcription goes away",
        "openai.transcription",
        "in 20 days",
        (
            Env({"OPENAI_TRANSCRIPTION_MODEL": "whisper-1"}),
            Arm("openai", "retiring-transcription", {"days": 20}),
        ),
    ),
    Fault("PCM confirmed", "openai.realtime", "audio/pcm in", (Arm("openai", "session-pcm"),)),
    Fault("the beta shape", "openai.realtime", "beta_api_shape_disabled", (Arm("openai", "beta-disabled"),)),
    Fault("no quota", "openai.realtime", "insufficient_quota", (Arm("openai", "no-quota"),)),
    Fault(
        "the model says nothing",
        "deep.line",
        "breaks at the answer",
        (Arm("openai", "silent-response"),),
        deep=True,
    ),
    Fault("an unknown voice", "openai.realtime", "nobody", (Env({"OPENAI_VOICE": "nobody"}),)),
    Fault("hardly a token left", "openai.headroom", "5 %", (Arm("openai", "low-limits"),), deep=True),
)

WAY_IN: tuple[Fault, ...] = (
    Fault("no ngrok program", "ngrok.binary", "not installed", (Env({"NGROK_API_URL": None}),)),
    Fault(
        "the session is elsewhere",
        "ngrok.log",
        "session is in use elsewhere",
        (File("logs/ngrok.out", "ERROR:  authentication failed\nERROR:  ERR_NGROK_108\n"),),
    ),
    Fault(
        "no agent", "ngrok.agent", "nothing listens", (Env({"NGROK_API_URL": "http://127.0.0.1:{spare}"}),)
    ),
    Fault("the agent lost its session", "ngrok.session", "reconnecting", (Arm("ngrok", "lost-session"),)),
    Fault("the tunnel leads elsewhere", "ngrok.tunnel", "none to port", (Arm("ngrok", "elsewhere"),)),
    Fault(
        "a random domain", "ngrok.domain", "not the fixed domain", (Env({"NGROK_DOMAIN": "ours.ngrok.app"}),)
    ),
    Fault("the inspector is on", "ngrok.inspection", "keeps whole requests", (Arm("ngrok", "inspected"),)),
    Fault(
        "an old tunnel",
        "webhook.drift",
        "old.ngrok.app",
        (Number({"VoiceUrl": "https://old.ngrok.app/twiml"}),),
        fix="fix.webhook",
    ),
    Fault(
        "a wrong path",
        "webhook.drift",
        "/voice",
        (Number({"VoiceUrl": "{public}/voice"}),),
        fix="fix.webhook",
    ),
    Fault(
        "GET for POST", "webhook.drift", "takes POST", (Number({"VoiceMethod": "GET"}),), fix="fix.webhook"
    ),
    Fault("a TwiML application", "webhook.drift", "application", (Arm("twilio", "number-application"),)),
    Fault("a SIP trunk", "webhook.drift", "trunk", (Arm("twilio", "number-trunk"),)),
    Fault(
        "a fallback through an old tunnel",
        "webhook.callbacks",
        "old.ngrok.app",
        (Number({"VoiceFallbackUrl": "https://old.ngrok.app/fallback"}),),
    ),
    Fault(
        "a certificate of nobody's",
        "webhook.certificate",
        "self-signed",
        (
            Program(SHAKE_HANDS, ("127.0.0.1", "{spare}")),
            Env({"PUBLIC_URL": "https://localhost:{spare}"}),
            Number({"VoiceUrl": "https://localhost:{spare}/twiml"}),
        ),
    ),
    Fault("the tunnel refuses", "webhook.signed", "8012", (Arm("ngrok", "refuse"),)),
    Fault("the tunnel is offline", "webhook.signed", "3200", (Arm("ngrok", "offline"),)),
    Fault("idle streams are cut", "deep.idle", "is cut after", (Arm("ngrok", "idle"),), deep=True),
)
