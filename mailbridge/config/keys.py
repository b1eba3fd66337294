"""Every key of the file and its reader: one table. A test holds it and the model together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mailbridge.config.files import file_reader, local_path_reader, path_reader, program_reader, secret_reader
from mailbridge.config.historic import counted, formats, numbered, separated, settings_table, switch
from mailbridge.config.model import (
    ApplicationSettings,
    Config,
    FetchAccount,
    OCESettings,
    POP3Listener,
    PopfetchSettings,
    QueueSettings,
    ReceiverSettings,
    RelaySettings,
    RouteRule,
    SMTPListener,
    StoreSettings,
    TLSSettings,
    TribeSettings,
    UsersSettings,
)
from mailbridge.config.oce import coterie_name, groups, member_name, oce_key, oce_url, tribe_name
from mailbridge.config.popfetch import dmail_conf_reader, fetch_secret_reader, header_name
from mailbridge.config.readers import (
    Reader,
    choice,
    client,
    domain,
    endpoint,
    fingerprint,
    flag,
    full_address,
    hostname,
    listed,
    mailbox,
    pattern,
    refusal,
    store_url,
    tag_separator,
    target,
    text,
    trusted_client,
)
from mailbridge.config.receiver import (
    address_pattern,
    application_client,
    attachment_type,
    checker_name,
    code_page,
    command_tables,
    ctl_setting,
    levels,
    plain_text,
    suffix,
    terminator,
    thread_priority,
    transform,
)
from mailbridge.config.secrets import secret_text_reader
from mailbridge.config.servers import bind_address, dedicated_server, one_server, server_host, server_text
from mailbridge.config.units import number, size, time
from mailbridge.limits import KIB, MIB, Limits
from mailbridge.oce.dialect import DIALECTS
from mailbridge.pop3.upstream import LOGINS

_DAY = 86400


def readers(base: Path, targets: Collection[str]) -> Mapping[type, Mapping[str, Reader]]:
    """The reader of each key of each table. Paths are relative to `base`; `targets` exist besides maildrops."""
    return {
        Config: {"hostname": hostname, "state": path_reader(base), "command_tags": command_tables},
        StoreSettings: {"url": store_url, "min_free": size(0, 2**50)},
        TLSSettings: {"certificate": file_reader(base), "key": secret_reader(base)},
        Limits: _LIMITS,
        SMTPListener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"),
            "clients": listed(trusted_client), "bare_newlines": choice("refuse", "normalise"),
            "auth": choice("offer", "require", "off"), "auth_in_clear": flag, "add_headers": flag,
            "sender": full_address, "strangers": choice("greet", "refuse"),
        },
        POP3Listener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"), "login_in_clear": flag,
            "apop": flag,
        },
        UsersSettings: {"domains": listed(domain), "postmaster": mailbox, "tag_separator": tag_separator},
        RelaySettings: {
            "servers": listed(server_text, "name a server"), "default": flag,
            "tls": choice("opportunistic", "require", "implicit", "off"), "verify": flag, "ca": file_reader(base),
            "pin": fingerprint, "identity": secret_reader(base), "user": text, "password": secret_text_reader(base),
            "token": secret_text_reader(base), "dedicatedsmtp": dedicated_server, "auth_in_clear": flag,
            "use_from": flag, "lmtp": flag, "client_name": hostname, "bind": bind_address,
            "connections": number(1, 1_000), "messages_per_connection": number(1, 1_000_000),
            "idle": time(0, _DAY), "timeout": time(1, _DAY),
        },
        QueueSettings: {
            "retry": time(1, _DAY), "longest_retry": time(1, 7 * _DAY), "expire": time(1, 60 * _DAY),
            "delay_notice": time(1, 60 * _DAY), "pause": time(1, _DAY), "notices_per_minute": number(1, 100_000),
            "bounce_size": size(0, 16 * MIB),
        },
        RouteRule: {
            "to": target(targets), "recipient": pattern, "sender": pattern, "user": text,
            "clients": listed(client, "leave the key out to match all"), "listener": text, "reply": refusal,
            "anyone": flag,
        },
        OCESettings: {
            "url": oce_url, "embedded": flag, "member": member_name, "password": secret_text_reader(base),
            "coterie": coterie_name, "app_id": text, "dialect": choice(*DIALECTS), "interval": time(1, _DAY),
            "request_interval": time(0, _DAY), "allow_cleartext": flag, "ca": file_reader(base), "pin": fingerprint,
            "identity": secret_reader(base), "name": tribe_name, "key": oce_key, "listen": endpoint, "tls": flag,
            "approve": flag, "registrars": listed(member_name), "pod": listed(client), "request_lock": number(1, 1_000),
            "groups": groups,
        },
        TribeSettings: {
            "key": oce_key, "url": oce_url, "secret": secret_text_reader(base), "ca": file_reader(base),
            "pin": fingerprint, "client_pin": fingerprint, "identity": secret_reader(base), "allow_cleartext": flag,
        },
        ReceiverSettings: {
            "smtp_ip_address": bind_address, "smtp_port": counted(0, 65_535),
            "clients": separated(application_client), "authentication_lib": checker_name, "auth_in_clear": flag,
            "thread_num": counted(1, 100_000), "thread_priority": thread_priority, "socket_timeout": time(1, _DAY),
            "id_allocated": counted(0, 2**53), "forward_smtp_server": server_host,
            "forward_smtp_server_port": counted(1, 65_535), "output_code_page": code_page, "log_console": levels,
            "log_event_log": levels, "log_file": levels, "logging_file_name": local_path_reader(base),
            "log_rcv_data": switch,
        },
        ApplicationSettings: {
            "ctl_type": choice("sms", "fax", "json"), "enabled": switch, "output_folder": local_path_reader(base),
            "format_preference": formats, "cmd_tags": plain_text, "nonstandard_data_terminator": terminator,
            "terminator_clients": separated(application_client), "process_attachments": switch,
            "process_anonymous": switch, "process_att_msg": switch, "clients": separated(application_client),
            "addresses": numbered(address_pattern), "from_enabled": numbered(address_pattern),
            "from_disabled": numbered(address_pattern), "ctl_settings": settings_table(ctl_setting),
            "transform": settings_table(transform), "ctl_layout": settings_table(),
            "ctl_suffix": suffix, "ctl_settings_lock": switch, "cmd_error": choice("ignore", "reject"),
            "output_code_page": code_page, "ini_semicolon": choice("keep", "replace"), "use_mail_priority": switch,
            "attachment_types": listed(attachment_type), "attachment_count": counted(0, 1_000),
            "attachment_size": size(0, 2048 * MIB), "attachment_total": size(0, 2048 * MIB),
            "text_size": size(1, 16 * MIB), "command": program_reader(base),
            "command_timeout": time(1, _DAY), "expiry": time(60, 60 * _DAY), "daily_limit": counted(1, 1_000_000),
            "allowed_numbers": pattern, "normalize": switch, "state_prefix": text, "national_prefix": plain_text,
            "pickup": time(1, 60 * _DAY), "accounting": local_path_reader(base),
        },
        FetchAccount: {
            "host": server_host, "user": text, "name": text, "port": number(1, 65_535),
            "tls": choice("implicit", "require", "opportunistic", "off"), "verify": flag, "ca": file_reader(base),
            "pin": fingerprint, "auth": choice(*LOGINS), "password": fetch_secret_reader(base),
            "token": fetch_secret_reader(base), "auth_in_clear": flag, "keep": flag,
            "delete_after": time(0, 3_650 * _DAY), "deliver_to": mailbox, "header": header_name, "domain": domain,
            "only_from": listed(domain, "leave the key out to take all"), "caretaker": mailbox, "may_relay": flag,
            "size_limit": size(1, 2048 * MIB), "timer": time(1, 30 * _DAY), "expunge": number(0, 1_000_000),
        },
        PopfetchSettings: {
            "dmail_conf": dmail_conf_reader(base), "timer": time(1, 30 * _DAY), "isinterval": flag,
            "wait": time(0, _DAY), "retry_delay": time(1, 30 * _DAY), "max_duds": number(1, 1_000_000),
            "parallel": number(1, 1_000), "header": header_name, "domain": domain, "caretaker": mailbox,
            "smtp_server": one_server, "work_path": local_path_reader(base), "log_path": local_path_reader(base),
            "log_level": choice("error", "info", "debug"), "dial": program_reader(base),
            "hangup": program_reader(base), "dial_timeout": time(1, _DAY), "etrn_server": one_server,
            "wait_for_link": flag,
        },
    }


_LIMITS: Mapping[str, Reader] = {
    "connections_per_client": number(1, 100_000),
    "connections": number(1, 100_000),
    "errors": number(1, 10_000),
    "junk_commands": number(1, 1_000_000),
    "command_line": number(512, 65_536),
    "recipients": number(1, 100_000),
    "hops": number(1, 1_000),
    "message_size": size(64 * KIB, 2048 * MIB),
    "header_size": size(4 * KIB, 16 * MIB),
    "header_fields": number(20, 100_000),
    "smtp_idle": time(1, _DAY),
    "pop3_idle": time(1, _DAY),
    "login_time": time(1, _DAY),
    "wrong_passwords": number(1, 1_000),
}
