"""A rendezvous at an address, which counts who is silent for some seconds as gone."""

import sys
import threading

from flame.backend.courier import Courier
from flame.backend.p2p import listen
from flame.backend.reception import Reception

if __name__ == "__main__":
    failed = threading.Event()
    courier = Courier("rendezvous", lambda error: (print(repr(error), file=sys.stderr), failed.set()))
    Reception(courier, listen(sys.argv[1]), silence_s=float(sys.argv[2]))
    courier.start()
    print("open", flush=True)
    failed.wait()
    sys.exit(1)
