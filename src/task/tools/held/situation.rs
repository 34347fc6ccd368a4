//! What the rows of `docs/seen/constrained.md` are about.

/// Declares the situations, each with the name of its row.
macro_rules! situations {
    ($($name:ident = $row:literal,)*) => {
        /// A situation that a row of the table is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(not(test), expect(dead_code, reason = "a row about values, which no keyword is a case of"))]
        pub(super) enum Situation {
            $(#[doc = $row] $name,)*
        }

        impl Situation {
            /// All of them, in the order of the table.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name of its row.
            pub(super) const fn row(self) -> &'static str {
                match self {
                    $(Self::$name => $row,)*
                }
            }
        }
    };
}

situations! {
    Type = "type",
    TypeList = "type, a list",
    Enum = "enum",
    EnumQuote = "enum, a text with a quote",
    EnumSiblings = "siblings of enum",
    Const = "const",
    Required = "required",
    RequiredUnnamed = "required, a name that properties do not have",
    RequiredUntyped = "required without a type",
    AdditionalNone = "additionalProperties: false",
    Additional = "additionalProperties, a schema",
    AdditionalBeside = "additionalProperties, a schema beside properties",
    MinLength = "minLength",
    MaxLength = "maxLength",
    MaxLengthLong = "maxLength above 2,000",
    LengthUntyped = "minLength without a type",
    PatternAnchored = "pattern, anchored",
    PatternOpen = "pattern, not anchored",
    PatternClass = "pattern with \\d",
    PatternLook = "pattern with look-ahead",
    PatternUntyped = "pattern without a type",
    PatternTypes = "pattern beside a list of types",
    LengthBesidePattern = "minLength beside pattern",
    Date = "format: date",
    Email = "format: email",
    DateTime = "format: date-time",
    Time = "format: time",
    Duration = "format: duration",
    Uuid = "format: uuid",
    Uri = "format: uri",
    Hostname = "format: hostname",
    Ipv4 = "format: ipv4",
    Ipv6 = "format: ipv6",
    FormatUnknown = "format that nobody knows",
    FormatBesidePattern = "format beside pattern",
    LengthBesideFormat = "maxLength beside format",
    IntegerMin = "minimum of an integer",
    IntegerMax = "maximum of an integer",
    IntegerMinBelow = "minimum of an integer, below zero",
    IntegerMaxBelow = "maximum of an integer, below zero",
    IntegerBoth = "both bounds of an integer",
    IntegerAround = "both bounds of an integer, around zero",
    IntegerExclusiveMin = "exclusiveMinimum of an integer",
    IntegerExclusiveMax = "exclusiveMaximum of an integer",
    ExclusiveBeside = "exclusiveMinimum beside minimum",
    NumberMin = "minimum of a number",
    NumberMax = "maximum of a number",
    NumberBoth = "both bounds of a number",
    NumberExclusiveMin = "exclusiveMinimum of a number",
    NumberExclusiveMax = "exclusiveMaximum of a number",
    NumberAround = "bounds of a number around zero",
    BoundUntyped = "minimum without a type",
    BoundTypes = "minimum beside a list of types",
    Multiple = "multipleOf",
    MultipleBelow = "multipleOf, below zero",
    MultipleFraction = "multipleOf, a fraction",
    MultipleUntyped = "multipleOf without a type",
    Items = "items",
    ItemsList = "items, a list",
    MinItems = "minItems",
    MinItemsBare = "minItems without items",
    MinItemsUntyped = "minItems without a type",
    MaxItems = "maxItems",
    MaxItemsBare = "maxItems without items",
    Unique = "uniqueItems",
    UniqueUntyped = "uniqueItems without a type",
    Contains = "contains",
    MaxContains = "maxContains",
    PrefixItems = "prefixItems",
    MinProperties = "minProperties",
    MinPropertiesBeside = "minProperties beside properties",
    MaxProperties = "maxProperties",
    PatternProperties = "patternProperties",
    PatternPropertiesBeside = "patternProperties beside properties",
    PropertyNames = "propertyNames",
    PropertyNamesBeside = "propertyNames beside properties",
    DependentRequired = "dependentRequired",
    DependentSchemas = "dependentSchemas",
    AnyOf = "anyOf",
    OneOfApart = "oneOf, apart",
    OneOfBoth = "oneOf, both fit",
    AnyOfSiblings = "siblings of anyOf",
    AllOfObjects = "allOf of objects",
    AllOfTwoObjects = "allOf of two objects",
    AllOfSiblings = "siblings of allOf",
    AllOfText = "allOf of one text",
    AllOfTexts = "allOf of texts",
    Not = "not",
    If = "if, then",
    UnevaluatedNone = "unevaluatedProperties",
    Ref = "$ref to a definition",
    RefSiblings = "siblings of $ref",
    RefEscaped = "$ref with an escaped pointer",
    RefBack = "$ref that comes back",
    RefRoot = "$ref: \"#\"",
    LongIntegers = "integers of 17 digits",
    Escapes = "escapes in a bounded text",
}
