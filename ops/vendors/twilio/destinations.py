"""Which numbers may be dialled: whatever dials asks here first, a test call, a transfer, a tool. Pure.

A call to the wrong kind of number costs dollars a minute, or an ambulance. So some kinds are never dialled,
whatever the settings say, and where ALLOWED_NUMBERS is set only what it names. Of which kind a number is,
`phonenumbers` knows (Google's libphonenumber); it is imported with the first question.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.config import Settings
from ops.errors import OpsError
from ops.values import E164

EMERGENCY = "an emergency number"
PREMIUM = "a premium-rate number"
NOWHERE = "a satellite number or another one of no country"
SHARED = "a shared-cost number"
PERSONAL = "a personal number"
COMPANY = "a company's number for a whole country"
BY_NAME = frozenset({SHARED, PERSONAL, COMPANY})  # dialled where a setting names them in full
TEST = "+1500555000"  # how Twilio's own test numbers begin, which never ring; by type they are personal ones
FREEPHONE = 800  # the country code of no country that costs the caller nothing


@dataclass(frozen=True)
class Destinations:
    """What these settings let be dialled; with nothing allowed by name, every number of an ordinary kind."""

    allowed: tuple[str, ...] = ()
    transfer: str | None = None

    @staticmethod
    def of(settings: Settings) -> Destinations:
        named = settings.allowed_numbers
        return Destinations(tuple(named.split(",")) if named else (), settings.twilio_agent_number)

    def refusal(self, number: str) -> OpsError | None:
        """Why this number may not be dialled, or None."""
        if not E164.fullmatch(number):
            return _refused("a phone number in E.164 form", repr(number[:40]), "correct the number")
        named = number == self.transfer or number in self.allowed
        found = kind(number)
        if found in BY_NAME and not named:
            fix = "call another number, or write this one in full into ALLOWED_NUMBERS in .env"
            return _refused("an ordinary number", f"{number}, {found}", fix)
        if found is not None and found not in BY_NAME:
            return _refused("an ordinary number", f"{number}, {found}", "call another number")
        prefixes = tuple(one[:-1] for one in self.allowed if one.endswith("*"))
        if self.allowed and not named and not number.startswith(prefixes):
            fix = "call one of these, or add the number to ALLOWED_NUMBERS in .env"
            return _refused("TWILIO_AGENT_NUMBER or one of ALLOWED_NUMBERS", number, fix)
        return None


def _refused(expected: str, got: str, fix: str) -> OpsError:
    return OpsError(f"This number is not dialled: expected {expected}, got {got}.", fix=fix)


def kind(number: str) -> str | None:
    """Of which costly or dangerous kind an E.164 number is; None for an ordinary one, in use or not."""
    if number.startswith(TEST):
        return None
    import phonenumbers
    from phonenumbers import PhoneNumberType as Type

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return NOWHERE  # no country has such a code
    code = parsed.country_code or 0
    region = phonenumbers.region_code_for_number(parsed) or phonenumbers.region_code_for_country_code(code)
    if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return None if code == FREEPHONE else NOWHERE
    valid = phonenumbers.is_valid_number(parsed)
    national = phonenumbers.national_significant_number(parsed)
    local = national[phonenumbers.length_of_geographical_area_code(parsed) :]
    if phonenumbers.is_emergency_number(local, region):
        return EMERGENCY
    if not valid and phonenumbers.connects_to_emergency_number(national, region):
        return EMERGENCY
    if not valid:  # what the network may make of it: without noughts in front and digits too many
        parsed = phonenumbers.PhoneNumber(country_code=code, national_number=parsed.national_number)
        phonenumbers.truncate_too_long_number(parsed)
    costly = {
        Type.PREMIUM_RATE: PREMIUM,
        Type.SHARED_COST: SHARED,
        Type.PERSONAL_NUMBER: PERSONAL,
        Type.UAN: COMPANY,
    }
    return costly.get(phonenumbers.number_type(parsed))
