# SPDX-License-Identifier: MIT
"""A certificate authority for one test session, made by openssl(1)."""

from .place import run


class Authority:
    def __init__(self, place, name="ca"):
        self.folder = place.folder(name)
        self.key = self.folder / "ca.key"
        self.certificate = self.folder / "ca.pem"
        run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", f"/CN=Private {name}",
             "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             "-keyout", self.key, "-out", self.certificate],
            check=True)

    def issue(self, *names):
        """Key and certificate of a server; the paths of both."""
        key = self.folder / f"{names[0]}.key"
        request = self.folder / f"{names[0]}.csr"
        certificate = self.folder / f"{names[0]}.pem"
        extensions = self.folder / f"{names[0]}.ext"
        extensions.write_text("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
        run(
            ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request],
            check=True)
        run(
            ["openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
             "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", certificate],
            check=True)
        return key, certificate
