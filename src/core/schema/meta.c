/* The meta-schemas of the drafts: what a schema may $ref without asking anybody. Only what they
 * check is here, no titles and no defaults. Schemas are checked by the compiler, not by these. */
#include "core/schema/schema_int.h"

/* stdbool makes numbers of them before they can become text. */
#undef true
#undef false
enum { false, true };

/* clang-format off */
#define JSON(...) #__VA_ARGS__

static const char draft_04[] = JSON({
    "id": "http://json-schema.org/draft-04/schema#",
    "$schema": "http://json-schema.org/draft-04/schema#",
    "definitions": {
        "schemaArray": { "type": "array", "minItems": 1, "items": { "$ref": "#" } },
        "positiveInteger": { "type": "integer", "minimum": 0 },
        "simpleTypes": { "enum": ["array", "boolean", "integer", "null", "number", "object",
                                  "string"] },
        "stringArray": { "type": "array", "items": { "type": "string" }, "minItems": 1,
                         "uniqueItems": true }
    },
    "type": "object",
    "properties": {
        "id": { "type": "string" }, "$schema": { "type": "string" },
        "title": { "type": "string" }, "description": { "type": "string" }, "default": {},
        "multipleOf": { "type": "number", "minimum": 0, "exclusiveMinimum": true },
        "maximum": { "type": "number" }, "exclusiveMaximum": { "type": "boolean" },
        "minimum": { "type": "number" }, "exclusiveMinimum": { "type": "boolean" },
        "maxLength": { "$ref": "#/definitions/positiveInteger" },
        "minLength": { "$ref": "#/definitions/positiveInteger" },
        "pattern": { "type": "string", "format": "regex" },
        "additionalItems": { "anyOf": [{ "type": "boolean" }, { "$ref": "#" }] },
        "items": { "anyOf": [{ "$ref": "#" }, { "$ref": "#/definitions/schemaArray" }] },
        "maxItems": { "$ref": "#/definitions/positiveInteger" },
        "minItems": { "$ref": "#/definitions/positiveInteger" },
        "uniqueItems": { "type": "boolean" },
        "maxProperties": { "$ref": "#/definitions/positiveInteger" },
        "minProperties": { "$ref": "#/definitions/positiveInteger" },
        "required": { "$ref": "#/definitions/stringArray" },
        "additionalProperties": { "anyOf": [{ "type": "boolean" }, { "$ref": "#" }] },
        "definitions": { "type": "object", "additionalProperties": { "$ref": "#" } },
        "properties": { "type": "object", "additionalProperties": { "$ref": "#" } },
        "patternProperties": { "type": "object", "additionalProperties": { "$ref": "#" } },
        "dependencies": { "type": "object", "additionalProperties": {
            "anyOf": [{ "$ref": "#" }, { "$ref": "#/definitions/stringArray" }] } },
        "enum": { "type": "array", "minItems": 1, "uniqueItems": true },
        "type": { "anyOf": [{ "$ref": "#/definitions/simpleTypes" },
                            { "type": "array", "items": { "$ref": "#/definitions/simpleTypes" },
                              "minItems": 1, "uniqueItems": true }] },
        "format": { "type": "string" },
        "allOf": { "$ref": "#/definitions/schemaArray" },
        "anyOf": { "$ref": "#/definitions/schemaArray" },
        "oneOf": { "$ref": "#/definitions/schemaArray" },
        "not": { "$ref": "#" }
    },
    "dependencies": { "exclusiveMaximum": ["maximum"], "exclusiveMinimum": ["minimum"] }
});

/* Drafts 06 and 07 differ by a few members, which a name that is not there does not disturb. */
#define DRAFT_06_BODY \
    "definitions": { \
        "schemaArray": { "type": "array", "minItems": 1, "items": { "$ref": "#" } }, \
        "nonNegativeInteger": { "type": "integer", "minimum": 0 }, \
        "simpleTypes": { "enum": ["array", "boolean", "integer", "null", "number", "object", \
                                  "string"] }, \
        "stringArray": { "type": "array", "items": { "type": "string" }, "uniqueItems": true } \
    }, \
    "type": ["object", "boolean"]
#define DRAFT_06_PROPERTIES \
        "$id": { "type": "string", "format": "uri-reference" }, \
        "$schema": { "type": "string", "format": "uri" }, \
        "$ref": { "type": "string", "format": "uri-reference" }, \
        "title": { "type": "string" }, "description": { "type": "string" }, \
        "default": {}, "examples": { "type": "array", "items": {} }, \
        "multipleOf": { "type": "number", "exclusiveMinimum": 0 }, \
        "maximum": { "type": "number" }, "exclusiveMaximum": { "type": "number" }, \
        "minimum": { "type": "number" }, "exclusiveMinimum": { "type": "number" }, \
        "maxLength": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "minLength": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "pattern": { "type": "string", "format": "regex" }, \
        "additionalItems": { "$ref": "#" }, \
        "items": { "anyOf": [{ "$ref": "#" }, { "$ref": "#/definitions/schemaArray" }] }, \
        "maxItems": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "minItems": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "uniqueItems": { "type": "boolean" }, "contains": { "$ref": "#" }, \
        "maxProperties": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "minProperties": { "$ref": "#/definitions/nonNegativeInteger" }, \
        "required": { "$ref": "#/definitions/stringArray" }, \
        "additionalProperties": { "$ref": "#" }, \
        "definitions": { "type": "object", "additionalProperties": { "$ref": "#" } }, \
        "properties": { "type": "object", "additionalProperties": { "$ref": "#" } }, \
        "patternProperties": { "type": "object", "additionalProperties": { "$ref": "#" }, \
                               "propertyNames": { "format": "regex" } }, \
        "dependencies": { "type": "object", "additionalProperties": { \
            "anyOf": [{ "$ref": "#" }, { "$ref": "#/definitions/stringArray" }] } }, \
        "propertyNames": { "$ref": "#" }, "const": {}, \
        "enum": { "type": "array", "items": {} }, \
        "type": { "anyOf": [{ "$ref": "#/definitions/simpleTypes" }, \
                            { "type": "array", "items": { "$ref": "#/definitions/simpleTypes" }, \
                              "minItems": 1, "uniqueItems": true }] }, \
        "format": { "type": "string" }, \
        "allOf": { "$ref": "#/definitions/schemaArray" }, \
        "anyOf": { "$ref": "#/definitions/schemaArray" }, \
        "oneOf": { "$ref": "#/definitions/schemaArray" }, "not": { "$ref": "#" }
#define EXPANDED(...) JSON(__VA_ARGS__)

static const char draft_06[] = EXPANDED({
    "$id": "http://json-schema.org/draft-06/schema#",
    "$schema": "http://json-schema.org/draft-06/schema#",
    DRAFT_06_BODY, "properties": { DRAFT_06_PROPERTIES }
});

static const char draft_07[] = EXPANDED({
    "$id": "http://json-schema.org/draft-07/schema#",
    "$schema": "http://json-schema.org/draft-07/schema#",
    DRAFT_06_BODY, "properties": { DRAFT_06_PROPERTIES,
        "$comment": { "type": "string" }, "readOnly": { "type": "boolean" },
        "writeOnly": { "type": "boolean" }, "contentMediaType": { "type": "string" },
        "contentEncoding": { "type": "string" }, "if": { "$ref": "#" }, "then": { "$ref": "#" },
        "else": { "$ref": "#" } }
});

/* 2019-09 and 2020-12: a meta-schema is made of its vocabularies. */
static const char all_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/schema",
    "$vocabulary": {
        "https://json-schema.org/draft/2020-12/vocab/core": 1,
        "https://json-schema.org/draft/2020-12/vocab/applicator": 1,
        "https://json-schema.org/draft/2020-12/vocab/unevaluated": 1,
        "https://json-schema.org/draft/2020-12/vocab/validation": 1,
        "https://json-schema.org/draft/2020-12/vocab/meta-data": 1,
        "https://json-schema.org/draft/2020-12/vocab/format-annotation": 1,
        "https://json-schema.org/draft/2020-12/vocab/content": 1
    },
    "$dynamicAnchor": "meta",
    "allOf": [{ "$ref": "meta/core" }, { "$ref": "meta/applicator" },
              { "$ref": "meta/unevaluated" }, { "$ref": "meta/validation" },
              { "$ref": "meta/meta-data" }, { "$ref": "meta/format-annotation" },
              { "$ref": "meta/content" }],
    "type": ["object", "boolean"],
    "properties": {
        "definitions": { "type": "object", "additionalProperties": { "$dynamicRef": "#meta" } },
        "dependencies": { "type": "object", "additionalProperties": {
            "anyOf": [{ "$dynamicRef": "#meta" }, { "$ref": "meta/validation#/$defs/stringArray" }]
        } },
        "$recursiveAnchor": { "type": "string" }, "$recursiveRef": { "type": "string" }
    }
});

static const char core_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/core",
    "$dynamicAnchor": "meta",
    "type": ["object", "boolean"],
    "properties": {
        "$id": { "type": "string", "format": "uri-reference", "pattern": "^[^#]*#?$" },
        "$schema": { "type": "string", "format": "uri" },
        "$ref": { "type": "string", "format": "uri-reference" },
        "$anchor": { "type": "string", "pattern": "^[A-Za-z_][-A-Za-z0-9._]*$" },
        "$dynamicRef": { "type": "string", "format": "uri-reference" },
        "$dynamicAnchor": { "type": "string", "pattern": "^[A-Za-z_][-A-Za-z0-9._]*$" },
        "$vocabulary": { "type": "object", "propertyNames": { "type": "string", "format": "uri" },
                         "additionalProperties": { "type": "boolean" } },
        "$comment": { "type": "string" },
        "$defs": { "type": "object", "additionalProperties": { "$dynamicRef": "#meta" } }
    }
});

static const char applicator_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/applicator",
    "$dynamicAnchor": "meta",
    "type": ["object", "boolean"],
    "properties": {
        "prefixItems": { "$ref": "#/$defs/schemaArray" }, "items": { "$dynamicRef": "#meta" },
        "contains": { "$dynamicRef": "#meta" },
        "additionalProperties": { "$dynamicRef": "#meta" },
        "properties": { "type": "object", "additionalProperties": { "$dynamicRef": "#meta" } },
        "patternProperties": { "type": "object",
                               "additionalProperties": { "$dynamicRef": "#meta" },
                               "propertyNames": { "format": "regex" } },
        "dependentSchemas": { "type": "object",
                              "additionalProperties": { "$dynamicRef": "#meta" } },
        "propertyNames": { "$dynamicRef": "#meta" }, "if": { "$dynamicRef": "#meta" },
        "then": { "$dynamicRef": "#meta" }, "else": { "$dynamicRef": "#meta" },
        "allOf": { "$ref": "#/$defs/schemaArray" }, "anyOf": { "$ref": "#/$defs/schemaArray" },
        "oneOf": { "$ref": "#/$defs/schemaArray" }, "not": { "$dynamicRef": "#meta" }
    },
    "$defs": { "schemaArray": { "type": "array", "minItems": 1,
                                "items": { "$dynamicRef": "#meta" } } }
});

static const char unevaluated_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/unevaluated",
    "$dynamicAnchor": "meta",
    "type": ["object", "boolean"],
    "properties": { "unevaluatedItems": { "$dynamicRef": "#meta" },
                    "unevaluatedProperties": { "$dynamicRef": "#meta" } }
});

#define VALIDATION_BODY \
    "type": ["object", "boolean"], \
    "properties": { \
        "type": { "anyOf": [{ "$ref": "#/$defs/simpleTypes" }, \
                            { "type": "array", "items": { "$ref": "#/$defs/simpleTypes" }, \
                              "minItems": 1, "uniqueItems": true }] }, \
        "const": {}, "enum": { "type": "array", "items": {} }, \
        "multipleOf": { "type": "number", "exclusiveMinimum": 0 }, \
        "maximum": { "type": "number" }, "exclusiveMaximum": { "type": "number" }, \
        "minimum": { "type": "number" }, "exclusiveMinimum": { "type": "number" }, \
        "maxLength": { "$ref": "#/$defs/count" }, "minLength": { "$ref": "#/$defs/count" }, \
        "pattern": { "type": "string", "format": "regex" }, \
        "maxItems": { "$ref": "#/$defs/count" }, "minItems": { "$ref": "#/$defs/count" }, \
        "uniqueItems": { "type": "boolean" }, \
        "maxContains": { "$ref": "#/$defs/count" }, "minContains": { "$ref": "#/$defs/count" }, \
        "maxProperties": { "$ref": "#/$defs/count" }, \
        "minProperties": { "$ref": "#/$defs/count" }, \
        "required": { "$ref": "#/$defs/stringArray" }, \
        "dependentRequired": { "type": "object", \
                               "additionalProperties": { "$ref": "#/$defs/stringArray" } } \
    }, \
    "$defs": { \
        "count": { "type": "integer", "minimum": 0 }, \
        "nonNegativeInteger": { "type": "integer", "minimum": 0 }, \
        "nonNegativeIntegerDefault0": { "type": "integer", "minimum": 0 }, \
        "simpleTypes": { "enum": ["array", "boolean", "integer", "null", "number", "object", \
                                  "string"] }, \
        "stringArray": { "type": "array", "items": { "type": "string" }, "uniqueItems": true } \
    }

static const char validation_2020[] = EXPANDED({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/validation",
    "$dynamicAnchor": "meta",
    VALIDATION_BODY
});

#define META_DATA_BODY \
    "type": ["object", "boolean"], \
    "properties": { \
        "title": { "type": "string" }, "description": { "type": "string" }, "default": {}, \
        "deprecated": { "type": "boolean" }, "readOnly": { "type": "boolean" }, \
        "writeOnly": { "type": "boolean" }, "examples": { "type": "array", "items": {} } \
    }

static const char meta_data_2020[] = EXPANDED({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/meta-data",
    "$dynamicAnchor": "meta",
    META_DATA_BODY
});

static const char format_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/format-annotation",
    "$dynamicAnchor": "meta",
    "type": ["object", "boolean"],
    "properties": { "format": { "type": "string" } }
});

static const char content_2020[] = JSON({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://json-schema.org/draft/2020-12/meta/content",
    "$dynamicAnchor": "meta",
    "type": ["object", "boolean"],
    "properties": { "contentEncoding": { "type": "string" },
                    "contentMediaType": { "type": "string" },
                    "contentSchema": { "$dynamicRef": "#meta" } }
});

static const char all_2019[] = JSON({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/schema",
    "$vocabulary": {
        "https://json-schema.org/draft/2019-09/vocab/core": 1,
        "https://json-schema.org/draft/2019-09/vocab/applicator": 1,
        "https://json-schema.org/draft/2019-09/vocab/validation": 1,
        "https://json-schema.org/draft/2019-09/vocab/meta-data": 1,
        "https://json-schema.org/draft/2019-09/vocab/format": 0,
        "https://json-schema.org/draft/2019-09/vocab/content": 1
    },
    "$recursiveAnchor": true,
    "allOf": [{ "$ref": "meta/core" }, { "$ref": "meta/applicator" },
              { "$ref": "meta/validation" }, { "$ref": "meta/meta-data" },
              { "$ref": "meta/format" }, { "$ref": "meta/content" }],
    "type": ["object", "boolean"],
    "properties": {
        "definitions": { "type": "object", "additionalProperties": { "$recursiveRef": "#" } },
        "dependencies": { "type": "object", "additionalProperties": {
            "anyOf": [{ "$recursiveRef": "#" }, { "$ref": "meta/validation#/$defs/stringArray" }]
        } }
    }
});

static const char core_2019[] = JSON({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/core",
    "$recursiveAnchor": true,
    "type": ["object", "boolean"],
    "properties": {
        "$id": { "type": "string", "format": "uri-reference", "pattern": "^[^#]*#?$" },
        "$schema": { "type": "string", "format": "uri" },
        "$anchor": { "type": "string", "pattern": "^[A-Za-z][-A-Za-z0-9.:_]*$" },
        "$ref": { "type": "string", "format": "uri-reference" },
        "$recursiveRef": { "type": "string", "format": "uri-reference" },
        "$recursiveAnchor": { "type": "boolean" },
        "$vocabulary": { "type": "object", "propertyNames": { "type": "string", "format": "uri" },
                         "additionalProperties": { "type": "boolean" } },
        "$comment": { "type": "string" },
        "$defs": { "type": "object", "additionalProperties": { "$recursiveRef": "#" } }
    }
});

static const char applicator_2019[] = JSON({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/applicator",
    "$recursiveAnchor": true,
    "type": ["object", "boolean"],
    "properties": {
        "additionalItems": { "$recursiveRef": "#" }, "unevaluatedItems": { "$recursiveRef": "#" },
        "items": { "anyOf": [{ "$recursiveRef": "#" }, { "$ref": "#/$defs/schemaArray" }] },
        "contains": { "$recursiveRef": "#" }, "additionalProperties": { "$recursiveRef": "#" },
        "unevaluatedProperties": { "$recursiveRef": "#" },
        "properties": { "type": "object", "additionalProperties": { "$recursiveRef": "#" } },
        "patternProperties": { "type": "object", "additionalProperties": { "$recursiveRef": "#" },
                               "propertyNames": { "format": "regex" } },
        "dependentSchemas": { "type": "object", "additionalProperties": { "$recursiveRef": "#" } },
        "propertyNames": { "$recursiveRef": "#" }, "if": { "$recursiveRef": "#" },
        "then": { "$recursiveRef": "#" }, "else": { "$recursiveRef": "#" },
        "allOf": { "$ref": "#/$defs/schemaArray" }, "anyOf": { "$ref": "#/$defs/schemaArray" },
        "oneOf": { "$ref": "#/$defs/schemaArray" }, "not": { "$recursiveRef": "#" }
    },
    "$defs": { "schemaArray": { "type": "array", "minItems": 1,
                                "items": { "$recursiveRef": "#" } } }
});

static const char validation_2019[] = EXPANDED({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/validation",
    "$recursiveAnchor": true,
    VALIDATION_BODY
});

static const char meta_data_2019[] = EXPANDED({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/meta-data",
    "$recursiveAnchor": true,
    META_DATA_BODY
});

static const char format_2019[] = JSON({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/format",
    "$recursiveAnchor": true,
    "type": ["object", "boolean"],
    "properties": { "format": { "type": "string" } }
});

static const char content_2019[] = JSON({
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "$id": "https://json-schema.org/draft/2019-09/meta/content",
    "$recursiveAnchor": true,
    "type": ["object", "boolean"],
    "properties": { "contentEncoding": { "type": "string" },
                    "contentMediaType": { "type": "string" },
                    "contentSchema": { "$recursiveRef": "#" } }
});
/* clang-format on */

static const struct {
    const char *uri, *text;
    int draft; /* enum schema_draft of a whole meta-schema, -1: of a vocabulary */
} metas[] = {
    { "http://json-schema.org/draft-04/schema", draft_04, DRAFT_04 },
    { "http://json-schema.org/draft-06/schema", draft_06, DRAFT_06 },
    { "http://json-schema.org/draft-07/schema", draft_07, DRAFT_07 },
    { "https://json-schema.org/draft/2019-09/schema", all_2019, DRAFT_2019_09 },
    { "https://json-schema.org/draft/2020-12/schema", all_2020, DRAFT_2020_12 },
    { "https://json-schema.org/draft/2019-09/meta/core", core_2019, -1 },
    { "https://json-schema.org/draft/2019-09/meta/applicator", applicator_2019, -1 },
    { "https://json-schema.org/draft/2019-09/meta/validation", validation_2019, -1 },
    { "https://json-schema.org/draft/2019-09/meta/meta-data", meta_data_2019, -1 },
    { "https://json-schema.org/draft/2019-09/meta/format", format_2019, -1 },
    { "https://json-schema.org/draft/2019-09/meta/content", content_2019, -1 },
    { "https://json-schema.org/draft/2020-12/meta/core", core_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/applicator", applicator_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/unevaluated", unevaluated_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/validation", validation_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/meta-data", meta_data_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/format-annotation", format_2020, -1 },
    { "https://json-schema.org/draft/2020-12/meta/content", content_2020, -1 },
};

bool meta_text(struct span uri, struct span *text)
{
    for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++)
        if (span_is(uri, metas[i].uri)) {
            *text = span_text(metas[i].text);
            return true;
        }
    return false;
}

bool meta_draft(struct span uri, enum schema_draft *out)
{
    if (uri.len && uri.data[uri.len - 1] == '#')
        uri.len--;
    for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++)
        if (metas[i].draft >= 0 && span_is(uri, metas[i].uri)) {
            *out = (enum schema_draft)metas[i].draft;
            return true;
        }
    return false;
}
