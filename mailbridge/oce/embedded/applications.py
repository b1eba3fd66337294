"""What applications ask of their OCE: registration, configuration, waiting messages, new members. Pure.

Each call is checked in the order of the reference (8): registration alone goes without a key; then the key and the
approval, then the member and the coterie, then the call itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailbridge.oce import codes, strictjson
from mailbridge.oce.calls import Answer, Call, read_call
from mailbridge.oce.embedded.deeds import Acknowledge, AskForMember, Deed, Pull, Refused, Register
from mailbridge.oce.embedded.destination import Commons
from mailbridge.oce.embedded.registry import DEFAULT, Application, Registry
from mailbridge.oce.embedded.settings import OCESettings
from mailbridge.oce.strictjson import Json
from mailbridge.oce.tribes import is_oce
from mailbridge.oce.usds import MEMBER, USDS, Source, USDSError
from mailbridge.routing.names import fold_name

MOST_PULLED = 1000
USUAL = 50
MOST_KEYS = 5000
MOST_VALUES = 100
LONGEST = 1024
REGISTER = ("osaAppReg", "fauRegApp")


class Applications:
    """The calls. `registry` holds the applications that are known."""

    def __init__(self, settings: OCESettings, commons: Commons, registry: Registry) -> None:
        self._settings = settings
        self._commons = commons
        self._registry = registry
        self._registrars = {fold_name(name) for name in settings.registrars}
        self._functions: dict[str, Callable[[Application, Call, Source, str], Answer | Deed]] = {
            "osaAppPullCfg": self._pull_values, "fauGetAppData": self._pull_values, "osaAppPullMsg": self._pull,
            "osaAppAckMsg": self._acknowledge, "osaMemberReg": self._ask_for_member,
        }

    def judge(self, message: USDS) -> Answer | Deed:
        """A call to the OCE. Raises Refused."""
        call: Call | USDSError
        try:
            call = read_call(message)
        except USDSError as error:
            call = error
        if isinstance(call, Call) and call.func in REGISTER:
            return self._register(call, message.source)
        application = self.sender(message.source)
        if isinstance(call, USDSError):
            raise Refused("INVDAT", str(call))
        function = self._functions.get(call.func)
        if function is None:
            raise Refused("INVFUNC", _shown(call.func))
        return function(application, call, message.source, message.summary)

    def sender(self, source: Source) -> Application:
        """The application that sends. Raises Refused when it may not, or not for this member."""
        if not source.app_key:
            raise Refused("NOKEY")
        application = self._registry.by_key(source.app_key)
        if application is None:
            raise Refused("INVKEY")
        if source.app_id and source.app_id != application.app_id:
            raise Refused("INVAPP", "Source.AppId is not that of the key")
        if not application.approved:
            raise Refused("PEND")
        member = self._commons.member(source.member)
        if member is None and ("@" not in source.member or is_oce(source.member.rpartition("@")[2])):
            raise Refused("INVMBR", "Source.Member")
        if not application.serves("" if member is None else member.name):
            raise Refused("PERM", "the application was registered for one member only")
        self._commons.check_coterie(source.coterie)
        return application

    # --- the calls ----------------------------------------------------------------------------------------------------

    def _register(self, call: Call, source: Source) -> Deed:
        said = call.arguments
        member = self._commons.member(_text(said, "UserName"))
        if member is None:
            raise Refused("INVMBR", "UserName")
        name = _text(said, "AppName") or "without a name"
        app_id = _text(said, "AppId") or source.app_id or f":{name.replace('/', '-')}"
        # A `/` would make it look like `AppId/member`, by which an operator approves the application of one member.
        if ":" not in app_id or "/" in app_id or len(app_id) > MEMBER or not app_id.isprintable():
            raise Refused("INVAPP", "AppId must be Group:Name, without /")
        if self._registrars and fold_name(member.name) not in self._registrars:
            raise Refused("PERM", "the member may not register applications")
        return Register(member.name, _text(said, "UserPass"), app_id, name, _flag(said.get("Multiuser", 1)),
                        _defaults(said.get("AppVals")))

    def _pull_values(self, application: Application, call: Call, source: Source, summary: str) -> Answer:
        member = self._commons.member(source.member)
        values = application.values
        whose = member.name if member is not None and values.get(member.name) else DEFAULT
        found = [{"Field": name, "Value": value, "Member": whose, "AppKey": source.app_key}
                 for name, value in values.get(whose, {}).items()]
        if not found:
            return Answer(codes.NULLSET)
        return Answer(codes.REQUEST_PROCESSED, mesg=found)

    def _pull(self, application: Application, call: Call, source: Source, summary: str) -> Deed:
        most = call.arguments.get("Max", USUAL)
        if isinstance(most, str) and most.isascii() and most.isdigit():
            most = int(most[:6])
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise Refused("INVDAT", "Max: must be a whole number from 1 up")
        return Pull(application, min(most, MOST_PULLED))

    def _acknowledge(self, application: Application, call: Call, source: Source, summary: str) -> Deed:
        keys = call.arguments.get("MsgKeys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(keys) > MOST_KEYS:
            raise Refused("INVDAT", f"MsgKeys: must be an array of at most {MOST_KEYS} keys")
        return Acknowledge(application, tuple(dict.fromkeys(keys)))

    def _ask_for_member(self, application: Application, call: Call, source: Source, summary: str) -> Deed:
        said = call.arguments
        login = fold_name(_text(said, "ReqLogin"))
        if not login or not login.isprintable() or len(login) > MEMBER:
            raise Refused("INVDAT", "ReqLogin: is missing, or no name")
        if self._commons.member(login) is not None:
            raise Refused("PERM", "there is a member of that name")
        fields = {name: _text(said, name) for name in ("FirstName", "LastName", "Email", "Message")}
        return AskForMember(login, strictjson.write(
            {"Login": login, **fields, "By": source.member, "AppId": application.app_id}).decode("ascii"))


def _text(said: Mapping[str, Json], name: str) -> str:
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise Refused("INVDAT", f"{name}: must be text of at most {LONGEST} characters")
    return value


def _flag(value: Json) -> bool:
    return value not in (0, False, "0", "", None)


def _defaults(value: Json) -> dict[str, str]:
    """The values of an application that members may change later, by their technical names."""
    if value is None:
        return {}
    if not isinstance(value, list) or len(value) > MOST_VALUES or not all(isinstance(each, Mapping) for each in value):
        raise Refused("INVDAT", f"AppVals: must be an array of at most {MOST_VALUES} objects")
    found = {}
    for each in value:
        name = _text(each, "TechName")
        if not name:
            raise Refused("INVDAT", "AppVals: TechName is missing")
        content = each.get("Value", "")
        found[name] = str(content) if isinstance(content, int) else _text(each, "Value")
    return found


def _shown(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:60])
