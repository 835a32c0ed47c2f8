"""Workers in hosts: which worker is where (`place`), one host (`host`), and all of them on this machine (`launch`)."""
