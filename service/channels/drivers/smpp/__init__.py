"""SMS through the SMSC of a carrier, or a server such as Jasmin and Kannel, by SMPP 3.4."""

from service.channels.drivers.smpp.driver import Smpp

__all__ = ["Smpp"]
