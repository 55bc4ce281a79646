"""Renders a kustomization with the library of kustomize, which is shown only this folder, and prints what `kubectl apply -k` would send.

    kustomize.py LIBRARY FOLDER
"""

import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.pykustomize_last_error.restype = ctypes.c_char_p
result = ctypes.c_char_p()
if library.pykustomize_build(sys.argv[2].encode(), None, ctypes.byref(result)):
    sys.exit(library.pykustomize_last_error().decode())
sys.stdout.write(result.value.decode())
