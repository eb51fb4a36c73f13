"""A stand-in for Twilio: the REST interface and the phone, written from Twilio's documents.

Run it with `python -m ops.vendors.twilio.simulator`. The way of a call through these files:

rest        the vendor's paths, /2010-04-01/…: credentials, resources, pages of results
forms       what its forms say, checked
control     the stand-in's own paths, /_sim/…: phones, callers, faults, what was heard
exchange    who exists and which calls are up: the account, its numbers, phones, the queue
account     an account and its numbers as values, and as Twilio's JSON
calls       a call as a value, its statuses, and as Twilio's JSON
phone       one call's life: rings, answers, runs TwiML, hangs up
documents   where its TwiML comes from: webhooks, fallbacks, an apology
markup      XML as a tree that knows its places
grammar     TwiML's text → verbs, every fault with its line and column
twiml       the verbs as values
verbs       what each verb does to a phone
streaming   opens the streams of <Connect> and <Start>
line        the 20 ms frames of an answered call: who speaks, who hears, what is recorded
clock       what rings for those frames and for marks, on one timer of the kernel
caller      the person: script steps, one frame at a time
playout     when each received sample is played, and so when each mark comes back
stream      one media stream: its messages, from `connected` to `stop`
messages    the texts of those messages
websocket   the socket below a stream
callbacks   signed requests: voice webhooks, status callbacks
reports     a call's status callbacks in their order
signature   X-Twilio-Signature
debugger    what went wrong in all calls, as the Monitor API shows it
errors      Twilio's error numbers and bodies
faults      how it can be asked to fail
history     what happened to a call, for whoever asks afterwards

What it does not do: <Say> has no synthesiser (`voice` says what is heard instead); <Play> decodes WAV
and G.711, not MP3; <Gather> takes keys, not speech; <Dial> calls numbers only; <Record>, <Enqueue>,
<Pay>, <Refer>, <Conference> and streams opened by REST are passed over by name; webhooks keep no
cookies; keys make no sound; prices, recordings and regions do not exist. Plain ws:// streams are
accepted on loopback, and a wss:// one that names the loopback host of a webhook asked in plain HTTP is
opened in plain, too.

What is not documented is a decision of ours: a stream that its server closes with 1000 (or no code) is
no error, any other end is 31921; audio that waits when its stream ends is never heard; unexpected
fields in a message are warned about (31951) and the message counts all the same; status callbacks are
tried again once on 5xx too.
"""
