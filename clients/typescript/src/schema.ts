// Generated from openapi.json by `make typescript-client`; do not edit.
/* eslint-disable */
export interface paths {
  "/events": {
    /** Send one event or a list; the next recommendation uses them */
    post: operations["send_events"];
  };
  "/experiments": {
    /** Result of the A/B test */
    get: operations["read_experiment"];
  };
  "/experiments/offline": {
    /** Tables of offline experiments */
    get: operations["list_offline_experiments"];
  };
  "/facets": {
    /** Values of the items' attributes, for filters */
    get: operations["list_facets"];
  };
  "/health/live": {
    /** Liveness probe */
    get: operations["read_liveness"];
  };
  "/health/ready": {
    /** Readiness probe */
    get: operations["read_readiness"];
  };
  "/items": {
    /** Search items by words of the title, or by id */
    get: operations["search_items"];
    /** Add new items */
    post: operations["add_items"];
  };
  "/items/{item_id}": {
    /** One item */
    get: operations["read_item"];
  };
  "/items/{item_id}/knowledge": {
    /** What is known of an item */
    get: operations["read_item_knowledge"];
    /** Correct the text of an item */
    put: operations["correct_item_knowledge"];
    /** Forbid any text of an item */
    delete: operations["forbid_item_knowledge"];
  };
  "/items/{item_id}/knowledge/correction": {
    /** Withdraw a correction or a prohibition */
    delete: operations["release_item_knowledge"];
  };
  "/map": {
    /** Place of each item */
    get: operations["read_map"];
  };
  "/map/colours": {
    /** Colour number of each item by an attribute */
    get: operations["read_map_colours"];
  };
  "/map/items": {
    /** Items at points of the map */
    get: operations["read_map_items"];
  };
  "/map/users": {
    /** Some users, each at the place of the profile or of a typical item */
    get: operations["read_map_users"];
  };
  "/metrics": {
    /** Metrics in Prometheus' text format */
    get: operations["read_metrics"];
  };
  "/models": {
    /** Loaded and refused bundles */
    get: operations["list_models"];
  };
  "/models/aliases/{alias}/promotion": {
    /** Promote a bundle through the gate */
    post: operations["promote_version"];
  };
  "/models/aliases/{alias}/rollback": {
    /** Undo the last promotion of an alias */
    post: operations["roll_back_alias"];
  };
  "/models/comparison": {
    /** Paired comparison of a version with the bundle of an alias */
    get: operations["compare_version"];
  };
  "/models/versions": {
    /** Published versions and promotions */
    get: operations["list_versions"];
  };
  "/recommend": {
    /** Recommend items, with the request as a query string; a list repeats its parameter */
    get: operations["recommend_by_query"];
    /** Recommend items for a user, a session or a history */
    post: operations["recommend"];
  };
  "/recommend/batch": {
    /** Recommend for many requests, one a line, in the same order */
    post: operations["recommend_batch"];
  };
  "/refreshes": {
    /** The latest refreshes */
    get: operations["list_refreshes"];
    /** Request a refresh of profiles */
    post: operations["request_refresh"];
  };
  "/refreshes/{refresh_id}": {
    /** Progress of a refresh */
    get: operations["read_refresh"];
  };
  "/refreshes/{refresh_id}/cancel": {
    /** Cancel a refresh; the written profiles are kept */
    post: operations["cancel_refresh"];
  };
  "/similar/{item_id}": {
    /** Items similar to this one */
    get: operations["similar_items"];
  };
  "/users": {
    /** Some users who have a history */
    get: operations["list_users"];
  };
  "/users/{user_id}": {
    /** All data of the user */
    get: operations["read_user"];
    /** Erase all data of the user */
    delete: operations["erase_user"];
  };
  "/users/{user_id}/erasure": {
    /** State of an erasure */
    get: operations["read_erasure"];
  };
  "/users/{user_id}/history": {
    /** Stored history */
    get: operations["read_history"];
  };
  "/users/{user_id}/merge": {
    /** Merge a guest's history into the user's */
    post: operations["merge_guest"];
  };
  "/users/{user_id}/profile": {
    /** The profile in force and its versions */
    get: operations["read_profile"];
    /** Replace the profile by a text of the user */
    put: operations["edit_profile"];
    /** Delete all texts and forbid new ones */
    delete: operations["erase_profile"];
  };
  "/users/{user_id}/profile/choice": {
    /** Release an edit, a pin or an erasure */
    delete: operations["release_profile"];
  };
  "/users/{user_id}/profile/pin": {
    /** Pin the profile in force */
    post: operations["pin_profile"];
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /**
    * BundleText
    * @description The text that the serving bundle was made with.
    */
    BundleText: {
      /**
      * Source
      * @description model or file that it is from
      */
      source: string | null;
      /** Text */
      text: string | null;
      /** Written At */
      written_at: string | null;
    };
    /**
    * ComparisonDocument
    * @description Verdict of the promotion gate on a bundle, compared with the bundle of an alias.
    */
    ComparisonDocument: {
      /** Alias */
      alias: string;
      /** Bundle Id */
      bundle_id: string;
      /** Challenger */
      challenger: number | null;
      /** Champion */
      champion: number | null;
      /** High */
      high: number | null;
      /**
      * Low
      * @description 95 % interval of challenger − champion
      */
      low: number | null;
      /**
      * Metric
      * @description null where nothing could be compared
      */
      metric: string | null;
      /** Passed */
      passed: boolean;
      /** Reason */
      reason: string;
      /** Request Id */
      request_id: string;
      /** Users */
      users: number | null;
    };
    /**
    * CorrectionText
    * @description A person's text about an item.
    */
    CorrectionText: {
      /** Text */
      text: string;
    };
    /**
    * Edit
    * @description A profile written by the user.
    */
    Edit: {
      /** Text */
      text: string;
    };
    /**
    * ErasedDocument
    * @description Number of deleted texts; no new ones will be written.
    */
    ErasedDocument: {
      /** Deleted */
      deleted: number;
      /** Request Id */
      request_id: string;
    };
    /**
    * ErasureDocument
    * @description State of an erasure.
    */
    ErasureDocument: {
      /**
      * Events
      * @description events deleted from the database; null until it has answered
      */
      events: number | null;
      /**
      * Exposures
      * @description deleted exposures; null until the database has answered
      */
      exposures: number | null;
      /** Finished Ms */
      finished_ms: number | null;
      /**
      * History
      * @description events deleted from the history
      */
      history: number;
      /**
      * Profiles
      * @description deleted profiles; null until the database has answered
      */
      profiles: number | null;
      /** Request Id */
      request_id: string;
      /**
      * Requested Ms
      * @description time of the first request; data stored later is kept
      */
      requested_ms: number;
      /**
      * Status
      * @description pending or done
      */
      status: string;
    };
    /**
    * Event
    * @description One interaction of a user or a session with an item.
    */
    Event: {
      /**
      * Event Id
      * @description idempotency key: of the events of one user (or session) with the same id, the first counts, whichever items the others name
      * @default null
      */
      event_id?: string | null;
      /**
      * Event Type
      * @default click
      */
      event_type?: string;
      /**
      * Impression
      * @description `impression` of the response that showed the item; the event is attributed to that list
      * @default null
      */
      impression?: string | null;
      /**
      * Impressions
      * @description items that were shown together with it
      */
      impressions?: string[];
      /** Item Id */
      item_id: string;
      /**
      * Request Id
      * @description request id of the response that showed the item
      * @default null
      */
      request_id?: string | null;
      /**
      * Session Id
      * @default null
      */
      session_id?: string | null;
      /**
      * Timestamp
      * @description ISO 8601 with a zone, or seconds or milliseconds since 1970; default: now
      * @default null
      */
      timestamp?: string | null;
      /**
      * User Id
      * @default null
      */
      user_id?: string | null;
      /**
      * Value
      * @description rating, price or seconds watched
      * @default null
      */
      value?: number | null;
    };
    /**
    * EventsAnswer
    * @description Result of the intake of events.
    */
    EventsAnswer: {
      /**
      * Accepted
      * @description number of accepted events
      */
      accepted: number;
      /**
      * Errors
      * @description events of a list that were not stored, because the history of their owner cannot be written
      */
      errors?: components["schemas"]["Place"][] | null;
      /**
      * Hints
      * @description accepted events that probably differ from what was meant
      */
      hints?: components["schemas"]["Place"][] | null;
      /**
      * New
      * @description number of them that were new to a history
      */
      new: number;
      /** Request Id */
      request_id: string;
    };
    /**
    * ExperimentDocument
    * @description An A/B test and its result.
    */
    ExperimentDocument: {
      /** Effect */
      effect: number;
      /** Event Type */
      event_type: string;
      /** Name */
      name: string;
      shadow: components["schemas"]["ShadowDocument"] | null;
      /**
      * Since
      * @description first list; null: the start of this server
      */
      since: string | null;
      /**
      * Split P
      * @description p of the test that users are split by the shares; null: not known
      */
      split_p: number | null;
      /**
      * Unit
      * @description users: from the database; lists: from this server's metrics, too narrow intervals
      */
      unit: string;
      /** Variants */
      variants: components["schemas"]["VariantDocument"][];
    };
    /**
    * ExperimentRef
    * @description A/B test and variant that the caller is assigned to.
    */
    ExperimentRef: {
      /** Name */
      name: string;
      /** Variant */
      variant: string;
    };
    /**
    * ExperimentsDocument
    * @description The A/B test of this server.
    */
    ExperimentsDocument: {
      /** @description null without `RETORT_EXPERIMENT` */
      experiment: components["schemas"]["ExperimentDocument"] | null;
      /** Request Id */
      request_id: string;
    };
    /**
    * FacetDocument
    * @description Values of one attribute.
    */
    FacetDocument: {
      /** High */
      high: number | string | null;
      /**
      * Items
      * @description items that have a value
      */
      items: number;
      /**
      * Kind
      * @enum {string}
      */
      kind: "text" | "number" | "boolean" | "time";
      /**
      * Low
      * @description smallest number or time
      */
      low: number | string | null;
      /**
      * N Values
      * @description different values
      */
      n_values: number;
      /** Name */
      name: string;
      /**
      * Values
      * @description the most frequent values; none for numbers and times
      */
      values: components["schemas"]["FacetValueDocument"][];
    };
    /**
    * FacetValueDocument
    * @description A value and the number of items that have it.
    */
    FacetValueDocument: {
      /** Items */
      items: number;
      /** Value */
      value: string | boolean;
    };
    /**
    * FacetsDocument
    * @description Values of the attributes that filters may use.
    */
    FacetsDocument: {
      /** Facets */
      facets: components["schemas"]["FacetDocument"][];
      /** Request Id */
      request_id: string;
    };
    /**
    * FoundItem
    * @description An item that a search found.
    */
    FoundItem: {
      /** Item Id */
      item_id: string;
      /**
      * Point
      * @description its number in the bundle, from 0: its place in the map
      */
      point: number;
      /**
      * Popularity
      * @description train events
      */
      popularity: number;
      /** Title */
      title: string | null;
    };
    /**
    * FoundItems
    * @description Result of a search, most popular first.
    */
    FoundItems: {
      /** Items */
      items: components["schemas"]["FoundItem"][];
      /** Request Id */
      request_id: string;
    };
    /**
    * History
    * @description A stored history, oldest first.
    */
    History: {
      /** Events */
      events: components["schemas"]["HistoryEntry"][];
      /** Request Id */
      request_id: string;
    };
    /**
    * HistoryEntry
    * @description One stored event.
    */
    HistoryEntry: {
      /** Item Id */
      item_id: string;
      /**
      * Time Ms
      * @description time of the event, in ms since 1970
      */
      time_ms: number;
    };
    /**
    * InferAnswer
    * @description The ranked items.
    */
    InferAnswer: {
      /** Id */
      id: string | null;
      /** Model Name */
      model_name: string;
      /** Model Version */
      model_version: string;
      /** Outputs */
      outputs: components["schemas"]["OutputTensor"][];
    };
    /**
    * InferParameters
    * @description Parameters of an inference request. Those of other servers, which clients send, have no effect.
    */
    InferParameters: {
      /**
      * Dry Run
      * @description true: record no exposure
      * @default false
      */
      dry_run?: boolean;
      /**
      * K
      * @default 10
      */
      k?: number;
    };
    /**
    * InferRequest
    * @description An inference request with the single input `history`.
    */
    InferRequest: {
      /**
      * Id
      * @default null
      */
      id?: string | null;
      /** Inputs */
      inputs: components["schemas"]["InputTensor"][];
      /**
      * Outputs
      * @description outputs to return; default: both
      * @default null
      */
      outputs?: components["schemas"]["RequestedOutput"][] | null;
      /**
      * @default {
      *       "dry_run": false,
      *       "k": 10
      *     }
      */
      parameters?: components["schemas"]["InferParameters"];
    };
    /**
    * InputTensor
    * @description The history, oldest first.
    */
    InputTensor: {
      /** Data */
      data: string[];
      /**
      * Datatype
      * @constant
      */
      datatype: "BYTES";
      /**
      * Name
      * @constant
      */
      name: "history";
      /**
      * Parameters
      * @default {}
      */
      parameters?: {
        [key: string]: unknown;
      };
      /** Shape */
      shape: number[];
    };
    /**
    * Item
    * @description One recommended item.
    */
    Item: {
      /**
      * Fields
      * @description with `fields`: attributes of the item
      */
      fields?: {
        [key: string]: unknown;
      } | null;
      /** Item Id */
      item_id: string;
      /**
      * Rank
      * @description 1 is the best
      */
      rank: number;
      /**
      * Reason
      * @description with `explain`: why the item is in the list
      */
      reason?: {
        [key: string]: unknown;
      } | null;
      /**
      * Score
      * @description comparable within one response only; null for a pinned item
      */
      score: number | null;
    };
    /**
    * ItemDocument
    * @description One item as the bundle has it, with corrections of its knowledge.
    */
    ItemDocument: {
      /** Fields */
      fields: {
        [key: string]: unknown;
      };
      /** Item Id */
      item_id: string;
      /** N Items */
      n_items: number;
      /**
      * Point
      * @description its number in the bundle, from 0: its place in the map
      */
      point: number;
      /**
      * Popularity
      * @description train events
      */
      popularity: number;
      /**
      * Popularity Rank
      * @description 1: the most popular item
      */
      popularity_rank: number;
      /** Request Id */
      request_id: string;
      /** Title */
      title: string | null;
      /** @description null in bundles of earlier versions */
      trend: components["schemas"]["TrendDocument"] | null;
    };
    /**
    * KnowledgeDocument
    * @description What is known of an item.
    */
    KnowledgeDocument: {
      /** @description null when the serving bundle does not have the item, or no texts */
      bundle: components["schemas"]["BundleText"] | null;
      /**
      * Correction
      * @description corrected or forbidden; null when models and files may give the text
      */
      correction: string | null;
      /** Request Id */
      request_id: string;
      /** Set At */
      set_at: string | null;
      /** Set By */
      set_by: string | null;
      /**
      * Text
      * @description text in force, which the next bundle reads
      */
      text: string | null;
      /**
      * Versions
      * @description newest first
      */
      versions: components["schemas"]["KnowledgeText"][];
    };
    /**
    * KnowledgeText
    * @description A text that a language model wrote about the item.
    */
    KnowledgeText: {
      /**
      * Created At
      * Format: date-time
      */
      created_at: string;
      /**
      * Fields
      * @description its phrases by field
      */
      fields: {
        [key: string]: unknown;
      } | null;
      /** Model */
      model: string;
      /** Prompt Version */
      prompt_version: string;
      /**
      * Text
      * @description null: the model knows nothing of the item
      */
      text: string | null;
    };
    /**
    * Known
    * @description All data of a user in this server's stores; vectors exist only in the files of training runs.
    */
    Known: {
      /**
      * Events
      * @description history that recommendations use
      */
      events: components["schemas"]["HistoryEntry"][];
      /** Profiles */
      profiles: components["schemas"]["ProfileText"][];
      /** Request Id */
      request_id: string;
      /** @description null without a database */
      stored: components["schemas"]["Stored"] | null;
      /**
      * Themes
      * @description themes of the profile that explanations use
      */
      themes: string[];
    };
    /**
    * Live
    * @description The process is alive.
    */
    Live: {
      /**
      * Status
      * @default live
      */
      status?: string;
    };
    /**
    * MapUser
    * @description A user, among the items whose texts are nearest to the profile, or else at a typical item of the history.
    */
    MapUser: {
      /**
      * By
      * @description profile: as the bundle's training read it; history: the most typical of the newest items
      * @enum {string}
      */
      by: "profile" | "history";
      /**
      * Theme
      * @description first theme of the user's profile
      */
      theme: string | null;
      /** User Id */
      user_id: string;
      /** X */
      x: number;
      /** Y */
      y: number;
    };
    /**
    * MapUsers
    * @description Some users who have a history.
    */
    MapUsers: {
      /** Request Id */
      request_id: string;
      /** Users */
      users: components["schemas"]["MapUser"][];
    };
    /**
    * MergeRequest
    * @description The guest whose history is moved to the user: a session or another user.
    */
    MergeRequest: {
      /** Session Id */
      session_id?: string | null;
      /** User Id */
      user_id?: string | null;
    };
    /**
    * Merged
    * @description Number of events that were new to the user.
    */
    Merged: {
      /** Moved */
      moved: number;
      /** Request Id */
      request_id: string;
    };
    /**
    * Model
    * @description Bundle that produced the list.
    */
    Model: {
      /** Name */
      name: string;
      /** Version */
      version: string;
    };
    /**
    * ModelMetadata
    * @description Metadata of a model.
    */
    ModelMetadata: {
      /**
      * Inputs
      * @default [
      *       {
      *         "datatype": "BYTES",
      *         "name": "history",
      *         "shape": [
      *           -1
      *         ]
      *       }
      *     ]
      */
      inputs?: components["schemas"]["Tensor"][];
      /** Name */
      name: string;
      /**
      * Outputs
      * @default [
      *       {
      *         "datatype": "BYTES",
      *         "name": "item_ids",
      *         "shape": [
      *           -1
      *         ]
      *       },
      *       {
      *         "datatype": "FP32",
      *         "name": "scores",
      *         "shape": [
      *           -1
      *         ]
      *       }
      *     ]
      */
      outputs?: components["schemas"]["Tensor"][];
      /**
      * Platform
      * @default onnx_onnxv1
      */
      platform?: string;
      /** Versions */
      versions: string[];
    };
    /**
    * ModelsDocument
    * @description The bundles of the caller's tenant.
    */
    ModelsDocument: {
      /** Models */
      models: components["schemas"]["SlotDocument"][];
    };
    /**
    * MovedDocument
    * @description The bundle to which an alias points now. Servers follow within `RETORT_FOLLOW_EVERY_S`.
    */
    MovedDocument: {
      /** Alias */
      alias: string;
      /** Bundle Id */
      bundle_id: string;
      /** Model */
      model: string;
      /** Reason */
      reason?: string | null;
      /** Request Id */
      request_id: string;
    };
    /**
    * NewItem
    * @description An item that no training has seen.
    */
    NewItem: {
      /**
      * Attributes
      * @description attributes that the catalogue has; times as ISO 8601
      */
      attributes?: {
        [key: string]: boolean | number | string | string[] | null;
      };
      /** Item Id */
      item_id: string;
      /**
      * Knowledge
      * @description text about the item, if you have one; null: the recipe's language model writes it
      */
      knowledge?: string | null;
      /** Title */
      title: string;
    };
    /**
    * NewItemsRequest
    * @description Items to describe and to add to the champion, without training.
    */
    NewItemsRequest: {
      /** Items */
      items: components["schemas"]["NewItem"][];
      /**
      * Share
      * @description largest share of the places in lists of ten that they take; null: their share of the catalogue
      */
      share?: number | null;
    };
    /**
    * OfflineDocument
    * @description Tables of offline experiments, newest first; those that `retort experiment publish` stored.
    */
    OfflineDocument: {
      /** Experiments */
      experiments: components["schemas"]["PublishedTable"][];
      /** Request Id */
      request_id: string;
    };
    /**
    * OfflineRow
    * @description One row of an experiment's table. Differences are paired over users, as shares of the baseline's value.
    */
    OfflineRow: {
      /**
      * Difference
      * @description null for the baseline and for rankers without training
      */
      difference: number | null;
      /**
      * Explains
      * @description control: the rows whose gain it explains
      */
      explains: string[];
      /** High */
      high: number | null;
      /** Is Baseline */
      is_baseline: boolean;
      /**
      * Is Control
      * @description knows less on purpose, so its gain is not knowledge
      */
      is_control: boolean;
      /**
      * Low
      * @description 95 % interval of the difference, over users and seeds
      */
      low: number | null;
      /** Name */
      name: string;
      /**
      * P
      * @description two-sided, not corrected for the number of rows
      */
      p: number | null;
      /** Seeds */
      seeds: number;
      /**
      * Student
      * @description null for a ranker without training
      */
      student: string | null;
      /**
      * Users
      * @description test cases of the paired difference; null without one
      */
      users: number | null;
      /**
      * Value
      * @description mean over seeds; null where the metric was not measured
      */
      value: number | null;
    };
    /**
    * OutputTensor
    * @description An output tensor.
    */
    OutputTensor: {
      /** Data */
      data: unknown[];
      /** Datatype */
      datatype: string;
      /** Name */
      name: string;
      /** Shape */
      shape: number[];
    };
    /**
    * Pin
    * @description An item at a fixed position; 1 is the first.
    */
    Pin: {
      /** Item Id */
      item_id: string;
      /** Position */
      position: number;
    };
    /**
    * Place
    * @description A remark on one event or field.
    */
    Place: {
      /**
      * Where
      * @description place of the event in the list, from 0, and the field
      */
      where: string;
      /** Why */
      why: string;
    };
    /**
    * ProblemDocument
    * @description Problem document (RFC 9457).
    */
    ProblemDocument: {
      /** Detail */
      detail: string;
      /**
      * Errors
      * @description with 422: location and message of each error
      * @default null
      */
      errors?: {
        [key: string]: string;
      }[] | null;
      /** Request Id */
      request_id: string;
      /** Status */
      status: number;
      /** Title */
      title: string;
      /** Type */
      type: string;
    };
    /**
    * ProfileDocument
    * @description A user's profile. `choice` is edited, pinned or erased; null when models may write it.
    */
    ProfileDocument: {
      /** Choice */
      choice: string | null;
      /** Request Id */
      request_id: string;
      /** Set At */
      set_at: string | null;
      /**
      * Text
      * @description profile in force
      */
      text: string | null;
      /**
      * Versions
      * @description newest first
      */
      versions: components["schemas"]["Written"][];
    };
    /**
    * ProfileText
    * @description A profile text that a language model wrote offline.
    */
    ProfileText: {
      /** Aspect */
      aspect: string;
      /** Model */
      model: string;
      /** Text */
      text: string;
      /** Written At */
      written_at: string;
    };
    /**
    * PromotionDocument
    * @description A promotion of a bundle to an alias.
    */
    PromotionDocument: {
      /** Alias */
      alias: string;
      /** Bundle Id */
      bundle_id: string;
      /** Forced */
      forced: boolean;
      /**
      * Model
      * @description name and version
      */
      model: string;
      /**
      * Reason
      * @description the verdict of the promotion gate
      */
      reason: string | null;
      /**
      * Set At
      * Format: date-time
      */
      set_at: string;
      /** Set By */
      set_by: string | null;
      /**
      * Withdrawn At
      * @description when it was rolled back
      */
      withdrawn_at: string | null;
    };
    /**
    * PromotionRequest
    * @description A promotion.
    */
    PromotionRequest: {
      /**
      * Because
      * @description the reason, stored with the promotion
      */
      because?: string | null;
      /** Bundle Id */
      bundle_id: string;
      /**
      * Force
      * @description despite the gate; requires `because`, and is recorded
      * @default false
      */
      force?: boolean;
    };
    /**
    * PublishedTable
    * @description A stored table and the time of its storing.
    */
    PublishedTable: {
      /**
      * Cases
      * @description test cases
      */
      cases: number;
      /**
      * Command
      * @description the command that repeats it, without directories
      */
      command: string;
      /**
      * Commits
      * @description state of the code of its runs
      */
      commits: string[];
      /** Description */
      description: string;
      /** Expected Seeds */
      expected_seeds: number;
      /** Metric */
      metric: string;
      /**
      * Missing
      * @description rows that have no run yet
      */
      missing: string[];
      /** Name */
      name: string;
      /** Protocol */
      protocol: string;
      /**
      * Published At
      * Format: date-time
      */
      published_at: string;
      /** Rows */
      rows: components["schemas"]["OfflineRow"][];
    };
    /**
    * Ready
    * @description The server is ready. `degraded` names dependencies that are down; responses then carry a fallback reason.
    */
    Ready: {
      /**
      * Degraded
      * @default []
      */
      degraded?: string[];
      /**
      * Outdated
      * @description aliases whose last good bundle serves, because the bundle that they name was refused or cannot be read; `/models` gives the reason
      * @default []
      */
      outdated?: string[];
      /**
      * Status
      * @default ready
      */
      status?: string;
    };
    /**
    * Reason
    * @description Reason why a list is not the student's over the full history.
    * @enum {string}
    */
    Reason: "unknown_user" | "empty_history" | "no_known_items" | "history_unavailable" | "deadline" | "student_failed" | "no_bundle" | "filter_matches_nothing" | "not_enough_items" | "no_vectors" | "holdout";
    /**
    * RecommendAnswer
    * @description Ranked items with the origin of the list.
    * @example {
    *       "impression": "6f1c0e4b9a7d2f35.student.",
    *       "items": [
    *         {
    *           "item_id": "i12",
    *           "rank": 1,
    *           "score": 4.71
    *         },
    *         {
    *           "item_id": "i7",
    *           "rank": 2,
    *           "score": 4.02
    *         }
    *       ],
    *       "model": {
    *         "name": "ml1m_sasrec_profile",
    *         "version": "0f3c9a5be17d2c44"
    *       },
    *       "request_id": "6f1c0e4b9a7d2f35",
    *       "source": "student"
    *     }
    */
    RecommendAnswer: {
      experiment: components["schemas"]["ExperimentRef"] | null;
      fallback_reason: components["schemas"]["Reason"] | null;
      /**
      * Impression
      * @description return it with events about these items, so that they are attributed to this list
      */
      impression: string;
      /** Items */
      items: components["schemas"]["Item"][];
      model: components["schemas"]["Model"] | null;
      /**
      * Next
      * @description return it to continue the list without repeats; null: no more items
      */
      next: string | null;
      /** Request Id */
      request_id: string;
      source: components["schemas"]["Source"];
    };
    /**
    * RecommendRequest
    * @description A request for recommendations; it names a user or a session, or carries the history itself.
    * @example {
    *       "k": 10,
    *       "user_id": "u42"
    *     }
    * @example {
    *       "exclude": [
    *         "i3"
    *       ],
    *       "history": [
    *         "i7",
    *         "i12"
    *       ]
    *     }
    */
    RecommendRequest: {
      /**
      * Boost
      * @description raise the scores of items that pass a filter
      */
      boost?: components["schemas"]["Weighting"][];
      /**
      * Bury
      * @description lower the scores of items that pass a filter
      */
      bury?: components["schemas"]["Weighting"][];
      /**
      * Candidates
      * @description rank only these items
      * @default null
      */
      candidates?: string[] | null;
      /**
      * Caps
      * @description maximum number of items for each value of an attribute
      */
      caps?: {
        [key: string]: number;
      };
      /**
      * Diversity
      * @description 0 keeps the order of the scores; 1 maximises diversity
      * @default 0
      */
      diversity?: number;
      /**
      * Dry Run
      * @description return the list without recording it as shown
      * @default false
      */
      dry_run?: boolean;
      /**
      * Exclude
      * @description items to leave out
      */
      exclude?: string[];
      /**
      * Explain
      * @description return a reason with each item
      * @default false
      */
      explain?: boolean;
      /**
      * Fields
      * @description attributes to return with each item
      */
      fields?: string[];
      /**
      * Filter
      * @description conditions on item attributes, in the filter language
      * @default null
      */
      filter?: {
        [key: string]: unknown;
      } | null;
      /**
      * History
      * @description item ids, oldest first; replaces the stored history
      * @default null
      */
      history?: string[] | null;
      /**
      * K
      * @description number of items
      * @default 10
      */
      k?: number;
      /**
      * Next
      * @description token of the previous response; continues the list without repeats
      * @default null
      */
      next?: string | null;
      /**
      * Pins
      * @description items at fixed positions; exclusions and filters take precedence
      */
      pins?: components["schemas"]["Pin"][];
      /**
      * Segment
      * @description filter for the popular items that are returned when the history is unknown
      * @default null
      */
      segment?: {
        [key: string]: unknown;
      } | null;
      /**
      * Session Id
      * @description session whose history is read when the user has none
      * @default null
      */
      session_id?: string | null;
      /**
      * Strict Filter
      * @description when no item passes the filter: true returns an empty list, false returns popular items
      * @default false
      */
      strict_filter?: boolean;
      /**
      * User Id
      * @description user whose stored history is read
      * @default null
      */
      user_id?: string | null;
    };
    /**
    * RefreshDocument
    * @description Progress of a refresh. In the status `asked` no worker has started it, and its users are not counted yet.
    */
    RefreshDocument: {
      /** Budget Tokens */
      budget_tokens: number | null;
      /** Budget Usd */
      budget_usd: number | null;
      /** Completion Tokens */
      completion_tokens: number;
      /** Cost Usd */
      cost_usd: number;
      /**
      * Created At
      * Format: date-time
      */
      created_at: string;
      /** Ended At */
      ended_at: string | null;
      /** Error */
      error: string | null;
      /** Failed */
      failed: number;
      /** Id */
      id: string;
      /** Name */
      name: string;
      /**
      * Problems
      * @description number of users without a profile by reason
      */
      problems: {
        [key: string]: number;
      };
      /** Prompt Tokens */
      prompt_tokens: number;
      /** Request Id */
      request_id: string;
      /** Result */
      result?: string | null;
      /** Reused */
      reused: number;
      /** Seconds Left */
      seconds_left: number | null;
      /** Started At */
      started_at: string | null;
      /** Status */
      status: string;
      /** Users */
      users: number;
      /** Users Done */
      users_done: number;
      /** Users Per S */
      users_per_s: number;
      /** Written */
      written: number;
    };
    /**
    * RefreshList
    * @description The latest refreshes, newest first.
    */
    RefreshList: {
      /** Refreshes */
      refreshes: components["schemas"]["RefreshDocument"][];
      /** Request Id */
      request_id: string;
    };
    /**
    * RefreshRequest
    * @description Parameters for repeating the latest refresh of a name, with the same recipe, data and model.
    */
    RefreshRequest: {
      /** Budget Tokens */
      budget_tokens?: number | null;
      /** Budget Usd */
      budget_usd?: number | null;
      /**
      * Name
      * @description name of a refresh that was started by `retort refresh start`
      */
      name: string;
      /**
      * Policy
      * @default all
      * @enum {string}
      */
      policy?: "all" | "schedule" | "events" | "drift" | "budgeted";
      rules?: components["schemas"]["Rules"];
      /**
      * User Ids
      * @description null: all users
      */
      user_ids?: string[] | null;
    };
    /**
    * RefusalDocument
    * @description A refused bundle, or a refused variant of an A/B test.
    */
    RefusalDocument: {
      /** At */
      at: string;
      /** Reason */
      reason: string;
      /** Where */
      where: string;
    };
    /**
    * RequestedOutput
    * @description An output to return.
    */
    RequestedOutput: {
      /**
      * Name
      * @enum {string}
      */
      name: "item_ids" | "scores";
      /**
      * Parameters
      * @default {}
      */
      parameters?: {
        [key: string]: unknown;
      };
    };
    /**
    * Rules
    * @description Parameters of the policies; the default is the policy's.
    */
    Rules: {
      /**
      * Max Age Days
      * @description schedule: older profiles are rewritten
      */
      max_age_days?: number | null;
      /**
      * Max Tokens
      * @description budgeted: tokens that this refresh may use
      */
      max_tokens?: number | null;
      /**
      * Min Drift
      * @description drift: 1 - cosine similarity of the categories then and now
      */
      min_drift?: number | null;
      /**
      * Min New Events
      * @description events: events since the profile was written
      */
      min_new_events?: number | null;
      /**
      * Update
      * @description update the old profile instead of reading the whole history
      */
      update?: boolean | null;
    };
    /**
    * ServerMetadata
    * @description Metadata of the server.
    */
    ServerMetadata: {
      /**
      * Extensions
      * @default [
      *       "binary_tensor_data"
      *     ]
      */
      extensions?: string[];
      /**
      * Name
      * @default retort
      */
      name?: string;
      /**
      * Version
      * @default 1
      */
      version?: string;
    };
    /**
    * ShadowDocument
    * @description A bundle that answers in the background.
    */
    ShadowDocument: {
      /** Alias */
      alias: string;
      /**
      * Compared
      * @description lists since the start of this server
      */
      compared: number;
      /**
      * Overlap
      * @description mean share of the shown items that the shadow also shows
      */
      overlap: number | null;
      /** Share */
      share: number;
    };
    /**
    * SlotDocument
    * @description The bundle of one alias of one tenant.
    */
    SlotDocument: {
      /** Alias */
      alias: string;
      /**
      * Fields
      * @description attributes of its items, for `fields` of a request
      */
      fields?: string[] | null;
      /** Latency Ms */
      latency_ms?: number | null;
      /** Loaded At */
      loaded_at?: string | null;
      /** Max Length */
      max_length?: number | null;
      /** Metrics */
      metrics?: {
        [key: string]: unknown;
      } | null;
      /** N Items */
      n_items?: number | null;
      /** Name */
      name?: string | null;
      /**
      * Outdated
      * @description why the last good bundle serves instead of the alias' own
      */
      outdated?: string | null;
      /**
      * Refusals
      * @default []
      */
      refusals?: components["schemas"]["RefusalDocument"][];
      /** Student */
      student?: string | null;
      /** Tenant */
      tenant: string;
      /** Version */
      version?: string | null;
    };
    /**
    * Source
    * @description Origin of a list, in the order of the fallback chain.
    * @enum {string}
    */
    Source: "student" | "partial_history" | "session" | "similar_items" | "popular_in_segment" | "popular" | "static" | "none";
    /**
    * Stored
    * @description Rows of the database, newest first, at most 1,000 of each table.
    */
    Stored: {
      /**
      * Choice
      * @description the user's choice about the profile
      */
      choice: {
        [key: string]: unknown;
      } | null;
      /** Events */
      events: {
        [key: string]: unknown;
      }[];
      /**
      * Exposures
      * @description lists that were shown to the user
      */
      exposures: {
        [key: string]: unknown;
      }[];
      /** N Events */
      n_events: number;
      /** N Exposures */
      n_exposures: number;
    };
    /**
    * Tensor
    * @description Metadata of a tensor.
    */
    Tensor: {
      /** Datatype */
      datatype: string;
      /** Name */
      name: string;
      /** Shape */
      shape: number[];
    };
    /**
    * TrendDocument
    * @description Train events of an item in equal spans of time.
    */
    TrendDocument: {
      /** Counts */
      counts: number[];
      /**
      * End
      * Format: date-time
      */
      end: string;
      /**
      * Start
      * Format: date-time
      */
      start: string;
    };
    /**
    * UserList
    * @description Users who have a history, in order of their ids.
    */
    UserList: {
      /**
      * Is Complete
      * @description whether the sample holds every user
      */
      is_complete: boolean;
      /**
      * Known
      * @description users in the sample that was searched, at most 20,000
      */
      known: number;
      /** Request Id */
      request_id: string;
      /** User Ids */
      user_ids: string[];
    };
    /**
    * VariantDocument
    * @description Result of one variant; differences are from the first.
    */
    VariantDocument: {
      /**
      * Alias
      * @description alias that serves it; null: the server's own, or the holdout's popular list
      */
      alias: string | null;
      /** Clicks */
      clicks: number;
      /**
      * Days Needed
      * @description further days until a change of `effect` would be found with a power of 80 %; null: not known yet
      */
      days_needed: number | null;
      /** Difference */
      difference: number | null;
      /** Difference High */
      difference_high: number | null;
      /**
      * Difference Low
      * @description 95 % interval of the difference
      */
      difference_low: number | null;
      /** High */
      high: number | null;
      /** Lists */
      lists: number;
      /**
      * Low
      * @description 95 % interval of the rate
      */
      low: number | null;
      /** Name */
      name: string;
      /**
      * Rate
      * @description clicks per list
      */
      rate: number | null;
      /**
      * Share
      * @description share of all users
      */
      share: number;
      /**
      * Users
      * @description null where only lists are counted
      */
      users: number | null;
    };
    /**
    * VersionDocument
    * @description A published bundle.
    */
    VersionDocument: {
      /** Aliases */
      aliases: string[];
      /** Bundle Id */
      bundle_id: string;
      /**
      * Created At
      * Format: date-time
      */
      created_at: string;
      /** Name */
      name: string;
      /**
      * Test
      * @description results of its test, by metric
      */
      test: {
        [key: string]: number;
      };
      /** Version */
      version: number;
    };
    /**
    * VersionsDocument
    * @description The newest versions and promotions, newest first.
    */
    VersionsDocument: {
      /** Promotions */
      promotions: components["schemas"]["PromotionDocument"][];
      /** Request Id */
      request_id: string;
      /** Versions */
      versions: components["schemas"]["VersionDocument"][];
    };
    /**
    * Weighting
    * @description An addition to the score of the items that pass a filter; scores are logits, so 0.7 doubles the odds.
    */
    Weighting: {
      /** By */
      by: number;
      /** Filter */
      filter: {
        [key: string]: unknown;
      };
    };
    /**
    * Written
    * @description A profile text written by a model.
    */
    Written: {
      /** Aspect */
      aspect: string;
      /**
      * Created At
      * Format: date-time
      */
      created_at: string;
      /**
      * Grounding
      * @description faithfulness: share of its claims that the history supports; null: unknown
      */
      grounding: number | null;
      /** Model */
      model: string;
      /**
      * N Events
      * @description events of the history from which it was written
      */
      n_events: number | null;
      /** Prompt Version */
      prompt_version: string;
      /** Text */
      text: string;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  send_events: {
    requestBody: {
      content: {
        /**
        * @example {
        *       "event_id": "e-1001",
        *       "event_type": "click",
        *       "item_id": "i7",
        *       "user_id": "u42"
        *     }
        */
        "application/json": components["schemas"]["Event"] | components["schemas"]["Event"][];
      };
    };
    responses: {
      /** @description Successful Response */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["EventsAnswer"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_experiment: {
    parameters: {
      query?: {
        event_type?: string;
        /** @description relative change that shall be found */
        effect?: number;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ExperimentsDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  list_offline_experiments: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["OfflineDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  list_facets: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["FacetsDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_liveness: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["Live"];
        };
      };
    };
  };
  read_readiness: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["Ready"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  search_items: {
    parameters: {
      query?: {
        /** @description starts of words; empty: popular */
        query?: string;
        limit?: number;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["FoundItems"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  add_items: {
    requestBody: {
      content: {
        "application/json": components["schemas"]["NewItemsRequest"];
      };
    };
    responses: {
      /** @description Successful Response */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RefreshDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_item: {
    parameters: {
      path: {
        /** @description item id */
        item_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ItemDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_item_knowledge: {
    parameters: {
      path: {
        /** @description item id */
        item_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["KnowledgeDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  correct_item_knowledge: {
    parameters: {
      path: {
        /** @description item id */
        item_id: string;
      };
    };
    requestBody: {
      content: {
        "application/json": components["schemas"]["CorrectionText"];
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["KnowledgeDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  forbid_item_knowledge: {
    parameters: {
      path: {
        /** @description item id */
        item_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["KnowledgeDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  release_item_knowledge: {
    parameters: {
      path: {
        /** @description item id */
        item_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["KnowledgeDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_map: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/octet-stream": string;
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_map_colours: {
    parameters: {
      query?: {
        attribute?: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/octet-stream": string;
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_map_items: {
    parameters: {
      query?: {
        point?: number[] | null;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["FoundItems"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_map_users: {
    parameters: {
      query?: {
        limit?: number;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["MapUsers"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_metrics: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  list_models: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ModelsDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  promote_version: {
    parameters: {
      path: {
        /** @description name of the alias */
        alias: string;
      };
    };
    requestBody: {
      content: {
        "application/json": components["schemas"]["PromotionRequest"];
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["MovedDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  roll_back_alias: {
    parameters: {
      path: {
        /** @description name of the alias */
        alias: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["MovedDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  compare_version: {
    parameters: {
      query: {
        /** @description id of a published bundle */
        bundle_id: string;
        alias?: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ComparisonDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  list_versions: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["VersionsDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  recommend_by_query: {
    parameters: {
      query?: {
        /** @description user whose stored history is read */
        user_id?: string;
        /** @description session whose history is read when the user has none */
        session_id?: string;
        /** @description item ids, oldest first; replaces the stored history */
        history?: string[];
        /** @description number of items */
        k?: number;
        /** @description items to leave out */
        exclude?: string[];
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RecommendAnswer"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  recommend: {
    requestBody: {
      content: {
        "application/json": components["schemas"]["RecommendRequest"];
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RecommendAnswer"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  recommend_batch: {
    requestBody: {
      content: {
        /**
        * @example {"user_id": "u1"}
        *     {"user_id": "u2", "k": 5}
        */
        "application/x-ndjson": string;
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/x-ndjson": unknown;
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  list_refreshes: {
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RefreshList"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  request_refresh: {
    requestBody: {
      content: {
        "application/json": components["schemas"]["RefreshRequest"];
      };
    };
    responses: {
      /** @description Successful Response */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RefreshDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_refresh: {
    parameters: {
      path: {
        /** @description refresh id */
        refresh_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RefreshDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  cancel_refresh: {
    parameters: {
      path: {
        /** @description refresh id */
        refresh_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RefreshDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  similar_items: {
    parameters: {
      query?: {
        k?: number;
        exclude?: string[] | null;
        fields?: string[] | null;
        /** @description true: record no exposure */
        dry_run?: boolean;
      };
      path: {
        item_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["RecommendAnswer"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  list_users: {
    parameters: {
      query?: {
        /** @description start of the user id */
        start?: string;
        limit?: number;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["UserList"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_user: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["Known"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  erase_user: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ErasureDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_erasure: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ErasureDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_history: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["History"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  merge_guest: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody: {
      content: {
        "application/json": components["schemas"]["MergeRequest"];
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["Merged"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  read_profile: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ProfileDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  edit_profile: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody: {
      content: {
        "application/json": components["schemas"]["Edit"];
      };
    };
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ProfileDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  erase_profile: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ErasedDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  release_profile: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ProfileDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
  pin_profile: {
    parameters: {
      path: {
        /** @description user id */
        user_id: string;
      };
    };
    requestBody?: never;
    responses: {
      /** @description Successful Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/json": components["schemas"]["ProfileDocument"];
        };
      };
      /** @description Problem */
      default: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          "application/problem+json": components["schemas"]["ProblemDocument"];
        };
      };
    };
  };
}
