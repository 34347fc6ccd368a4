//! Numbers and names of weight quants.

/// `general.file_type` by number (llama.cpp's `llama_ftype`).
const FILE_TYPES: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
];

/// The name of a `general.file_type`.
pub fn quant_name(file_type: u64) -> Option<&'static str> {
    FILE_TYPES.iter().find(|(number, _)| *number == file_type).map(|&(_, name)| name)
}

/// Whether a name is one of a standard quant, in any case of letters.
pub fn is_standard_quant(name: &str) -> bool {
    FILE_TYPES.iter().any(|(_, known)| known.eq_ignore_ascii_case(name))
}
