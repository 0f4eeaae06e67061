# SPDX-License-Identifier: Apache-2.0
"""Keys and JWTs of a NATS operator, an account and its users, made with the openssl program."""
import base64
import binascii
import json
import os
import subprocess
import time

from lib.servers import Skip, find_program

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
NO_LIMITS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams",
                           "consumer"), -1)


def encode(data):
    data += binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data).decode().rstrip("=")


def base64_url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    def __init__(self, folder, name, kind):
        if not find_program("openssl"):
            raise Skip("no openssl program")
        self.name, self.path = name, os.path.join(folder, name + ".pem")
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", self.path)
        private = self._openssl("pkey", "-in", self.path, "-outform", "DER")[-32:]
        public = self._openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-32:]
        self.public = encode(bytes([kind]) + public)
        self.seed = encode(bytes([SEED | kind >> 5, (kind & 31) << 3]) + private)

    @staticmethod
    def _openssl(*words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    def sign(self, data):
        with open(self.path + ".data", "wb") as f:  # openssl wants to know its size beforehand
            f.write(data)
        return base64_url(self._openssl("pkeyutl", "-sign", "-inkey", self.path, "-rawin", "-in", self.path + ".data"))

    def vouch_for(self, key, claims, lifetime=None):
        """A JWT that this key signs, good for so many seconds."""
        now = int(time.time())
        body = {"iat": now, "iss": self.public, "sub": key.public, "name": key.name, "jti": os.urandom(8).hex(), "nats": dict(claims, version=2)}
        if lifetime is not None:
            body["exp"] = now + lifetime
        text = ".".join(base64_url(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return text + "." + self.sign(text.encode())


class Operator:
    """With one account that may do everything, and the account that the server wants for itself."""

    def __init__(self, folder):
        self.folder = folder
        self.key, self.account, self.system = Key(folder, "operator", OPERATOR), Key(folder, "account", ACCOUNT), Key(folder, "system", ACCOUNT)

    def server_config(self):
        everything = dict(NO_LIMITS, wildcards=True)
        nothing = dict(everything, mem_storage=0, disk_storage=0, streams=0, consumer=0)  # the system account stores nothing
        own = self.key.vouch_for(self.key, {"type": "operator", "system_account": self.system.public})
        known = [f"{account.public}: {self.key.vouch_for(account, {'type': 'account', 'limits': limits})}"
                 for account, limits in ((self.account, everything), (self.system, nothing))]
        return f"operator: {own}\nsystem_account: {self.system.public}\nresolver: MEMORY\nresolver_preload: {{ {', '.join(known)} }}\n"

    def user(self, name):
        return Key(self.folder, name, USER)

    def admit(self, user, lifetime=None):
        """The user's JWT."""
        return self.account.vouch_for(user, {"type": "user", "subs": -1, "data": -1, "payload": -1}, lifetime)


def credentials(user, jwt):
    """What a credentials file holds."""
    return (f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")
