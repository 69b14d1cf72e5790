"""The two configuration files of a fresh node, with the comments and spacing that real ones have."""

from __future__ import annotations

from typing import Final

_SERVER: Final = """\
# Sample of a simulated CM; names and spacing as in CM's own file.
log_dir = '{log}/cm/cm_server'
log_file_size = 16MB                    # megabytes
log_min_messages = WARNING
thread_count = 1000                     # 2 to 1000
instance_heartbeat_timeout = 6          # seconds
cmserver_ha_heartbeat_timeout = 6       # seconds
# percentage of failed databases
az_switchover_threshold = 100
enable_transaction_read_only = on
cm_auth_method = trust
ddb_type = 1                            # DCC
# read once, when cm_server starts
enable_ssl = {ssl}
ssl_cert_expire_alert_threshold = 90
ssl_cert_expire_check_interval = 86400
ddb_election_timeout = 3                # seconds
share_disk_path = ''
third_party_gateway_ip = ''             # for two nodes
upgrade_from = 0
# the last line needs its newline, or `cm_ctl set` loses it
"""

_AGENT: Final = """\
# Sample of a simulated CM; names and spacing as in CM's own file.
log_dir = '{log}/cm/cm_agent'
log_file_size = 16MB                    # megabytes
log_min_messages = WARNING
incremental_build = on
security_mode = off
upgrade_from = 0
agent_report_interval = 1               # seconds
agent_connect_timeout = 1               # seconds
agent_kill_instance_timeout=0           # never
enable_log_compress          = on
log_max_size=10240                      # megabytes
unix_socket_directory = ''
agent_rhb_interval = 1000               # milliseconds between heartbeats of the agents
enable_ssl = {ssl}                         # heartbeats of the agents only
ssl_cert_expire_alert_threshold = 90
enable_fence_dn = off
# the last line needs its newline, or `cm_ctl set` loses it
"""

_BODIES: Final = {"cm_server": _SERVER, "cm_agent": _AGENT}


def conf_text(role: str, *, log_path: str, enable_ssl: bool) -> str:
    """cm_server.conf or cm_agent.conf of a fresh node."""
    return _BODIES[role].format(log=log_path, ssl="on" if enable_ssl else "off")
