"""The 19 electrodes of the 10-20 system, the double banana, and montages as small matrices.

Order is that of SzCORE. T3/T4/T5/T6 are the names of TUSZ (T7/T8/P7/P8 are synonyms). A montage is
applied on the device by the frontend, so that one cache serves every montage (DESIGN 4).
"""

ELECTRODES: tuple[str, ...] = tuple(
    "Fp1 F3 C3 P3 O1 F7 T3 T5 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6".split()
)
DOUBLE_BANANA: tuple[str, ...] = tuple(
    "Fp1-F3 F3-C3 C3-P3 P3-O1 Fp1-F7 F7-T3 T3-T5 T5-O1 Fz-Cz Cz-Pz "
    "Fp2-F4 F4-C4 C4-P4 P4-O2 Fp2-F8 F8-T4 T4-T6 T6-O2".split()
)
