"""The vault under test: the real binary on a data directory, a port and a clock of its own."""

import json
import os
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import Certificates
from client import Caller, open_channel

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("IDVAULT_BIN", REPOSITORY / "target/release/idvault"))
# Whether the vault is served over mutual TLS, each caller with a certificate of its own.
TLS = os.environ.get("IDVAULT_TLS") == "1"
PATIENCE_SECONDS = 30
VAULT_ID = "blackbox"
TRUST_DOMAIN = "example.test"

OPERATOR = "person/olga"
REQUESTER = "person/rita"
PRIVACY_OFFICER = "person/paul"
MODEL_OWNER = "person/mona"
WORKLOAD = "workload/trainer"
# Rita and Paul hold a second role each, so that only the four-eyes rule stands between them and an approval.
ROLES = {
    "operator": [OPERATOR],
    "requester": [REQUESTER],
    "privacy_officer": [PRIVACY_OFFICER, REQUESTER],
    "model_owner": [MODEL_OWNER, PRIVACY_OFFICER],
    "auditor": ["person/anna"],
}


def spiffe_id(path):
    return f"spiffe://{TRUST_DOMAIN}/{path}"


def eventually(holds):
    """Waits until `holds()` is true, or fails when the patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Clock:
    """The clock file of a vault. Without `elapsed` the vault derives elapsed time from the wall."""

    def __init__(self, path, elapsed=None):
        self.path = path
        self.set(datetime(2031, 3, 3, 9, 30, tzinfo=UTC), elapsed)

    def set(self, wall, elapsed=None):
        lines = [wall.strftime("%Y-%m-%dT%H:%M:%SZ")] + ([] if elapsed is None else [str(elapsed)])
        draft = self.path.with_suffix(".new")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.path)
        self.now = wall

    def advance(self, **span):
        self.set(self.now + timedelta(**span))


class Vault:
    """A vault in `home`, and the people who call it."""

    def __init__(self, home, elapsed=None, tls=TLS):
        self.data = home / "data"
        self.config = home / "idvault.toml"
        self.log = home / "idvault.log"
        self.clock = Clock(home / "clock", elapsed)
        self.certificates = Certificates(BINARY, home / "certificates") if tls else None
        self._process = None
        self._callers = {}
        self.write_config()

    def write_config(self, listen_host="127.0.0.1", **replaced):
        """Writes the config with a free port; `replaced` sections stand in for those of the same name."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"{listen_host}:{probe.getsockname()[1]}"
        sections = {
            "vault": {"id": VAULT_ID},
            "server": {"listen": self.address, "data_dir": str(self.data)},
            "root.file": {"allow_copies": True},
            "trust": {"domain": TRUST_DOMAIN},
            "roles": {role: [spiffe_id(path) for path in paths] for role, paths in ROLES.items()},
        }
        if self.certificates:
            sections["tls"] = self.certificates.config
        sections |= replaced
        # JSON strings and lists of strings are TOML as well.
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]"] + [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self):
        command = [BINARY, "serve", "--config", self.config, "--clock-file", self.clock.path]
        return command if self.certificates else [*command, "--insecure-loopback"]

    def start(self, trusted=True):
        """Starts the server and waits for its health service to say SERVING; not `trusted`: to say anything."""
        self.write_config()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        options = (("grpc.initial_reconnect_backoff_ms", 50),)
        with open_channel(self.address, self._credentials(OPERATOR), options) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            try:
                eventually(lambda: self._is_ready(health, trusted))
            except AssertionError:
                self.kill()
                raise

    def _is_ready(self, health, trusted):
        assert self._process.poll() is None, f"the server ended:\n{self.log.read_text()[-4000:]}"
        try:
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=1).status
        except grpc.RpcError:
            return False
        return status == health_pb2.HealthCheckResponse.SERVING or not trusted

    def stop(self):
        """SIGTERM; gives the exit code."""
        self._process.terminate()
        return self._ended()

    def kill(self):
        """SIGKILL."""
        self._process.kill()
        self._ended()

    def _ended(self):
        code = self._process.wait(PATIENCE_SECONDS)
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()
        return code

    def run_until_exit(self, command=None):
        """Runs a start that must fail; gives its exit code."""
        return subprocess.run(command or self.command(), capture_output=True, timeout=PATIENCE_SECONDS).returncode

    def memory(self, field):
        """Bytes of the server's memory: `VmRSS` resident now, `RssAnon` that of no file, `VmHWM` at its peak."""
        return self._status(field) << 10

    def threads(self):
        """How many threads the server has."""
        return self._status("Threads")

    def handles(self):
        """How many files and sockets the server has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def _status(self, field):
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(f"{field}:"))
        return int(line.split()[1])

    def forget_peak_memory(self):
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def caller(self, path):
        """Who calls: `tenant/acme`, `person/olga`, `workload/trainer`; None is nobody."""
        if path not in self._callers:
            said = None if self.certificates else path and spiffe_id(path)
            self._callers[path] = Caller(self.address, said, self._credentials(path))
        return self._callers[path]

    def _credentials(self, path):
        """What a caller shows under TLS: None is known to the authority, but nobody."""
        return self.certificates and self.certificates.credentials(*([spiffe_id(path)] if path else []))

    def files(self, folder=""):
        """All files of the data directory, or of one folder of it."""
        return sorted(path for path in (self.data / folder).rglob("*") if path.is_file())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.kill()
